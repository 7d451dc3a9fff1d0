// In the place of libFuzzer's main() where that is not built: plays the inputs in files and
// folders.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

namespace fs = std::filesystem;

// What is being played, for the handler of crashes.
char playing[4096];

extern "C" void on_crash(int signal) {
  for (const char* text : {"FAILED: ", static_cast<const char*>(playing), "\n"})
    [[maybe_unused]] const auto ignored = write(STDERR_FILENO, text, std::strlen(text));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::vector<fs::path> inputs_of(int argc, char** argv) {
  std::vector<fs::path> found;
  for (int i = 1; i < argc; ++i) {
    const fs::path given(argv[i]);
    if (!fs::is_directory(given)) {
      found.push_back(given);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(given))
      if (entry.is_regular_file()) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

int run(int argc, char** argv) {
  const std::vector<fs::path> inputs = inputs_of(argc, argv);
  if (inputs.empty()) {
    std::fprintf(stderr, "usage: %s FILE|FOLDER...   (plays the inputs; there are none)\n",
                 argv[0]);
    return 2;
  }
  for (const fs::path& path : inputs) {
    std::snprintf(playing, sizeof playing, "%s %s", argv[0], path.c_str());
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    if (!file) {
      std::fprintf(stderr, "%s: can't be read\n", path.c_str());
      return 2;
    }
    // In memory of its very size: a harness that reads on is found as well.
    const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%zu inputs played\n", inputs.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, on_crash);
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 2;
  }
}
