// rte_dev_dma_map() is not in the stable ABI of DPDK 22.11.
#define ALLOW_EXPERIMENTAL_API
#include "pmd_glue/external_memory.hpp"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_memory.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <vector>

#include "nd/error.hpp"

namespace nd::pmd {
namespace {

[[noreturn]] void refuse(errc error, const std::string& why) {
  throw std::system_error(make_error_code(error), "registered memory: " + why);
}

rte_device* device_of(std::uint16_t port) noexcept {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(port, &info) == 0 ? info.device : nullptr;
}

}  // namespace

std::size_t page_size() noexcept {
  return static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

mapped_pages::mapped_pages(std::size_t bytes) {
  const std::size_t whole = (bytes + page_size() - 1) / page_size() * page_size();
  if (bytes == 0 || whole < bytes) refuse(errc::invalid_argument, "a size of 0, or too large");
  void* const at = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    refuse(errc::no_buffer_space, std::to_string(whole) + " bytes: " +
                                      std::error_code(errno, std::generic_category()).message());
  bytes_ = {static_cast<std::byte*>(at), whole};
}

mapped_pages::~mapped_pages() {
  munmap(bytes_.data(), bytes_.size());
}

external_memory::external_memory(std::span<std::byte> pages, std::uint16_t port) : pages_(pages) {
  const std::size_t page = page_size();
  if (pages.empty() || reinterpret_cast<std::uintptr_t>(pages.data()) % page != 0 ||
      pages.size() % page != 0)
    refuse(errc::invalid_argument,
           "it must begin at a page and have whole pages, of " + std::to_string(page) + " bytes");
  std::vector<rte_iova_t> addresses;  // as the device sees them
  if (rte_eal_iova_mode() == RTE_IOVA_VA)
    for (std::size_t at = 0; at < pages.size(); at += page)
      addresses.push_back(reinterpret_cast<std::uintptr_t>(pages.data() + at));
  if (rte_extmem_register(pages.data(), pages.size(),
                          addresses.empty() ? nullptr : addresses.data(),
                          static_cast<unsigned>(addresses.size()), page) != 0) {
    if (rte_errno == EEXIST || rte_errno == EBUSY)
      refuse(errc::invalid_argument, "it is registered already, or a part of it");
    refuse(errc::no_buffer_space, std::string("rte_extmem_register: ") + rte_strerror(rte_errno));
  }
  rte_device* const device = device_of(port);
  if (device == nullptr || addresses.empty()) return;
  if (rte_dev_dma_map(device, pages.data(), addresses.front(), pages.size()) == 0)
    mapped_for_ = device;
  if (mapped_for_ != nullptr || rte_errno == ENOTSUP) return;  // the latter: it needs no mapping
  const int error = rte_errno;
  rte_extmem_unregister(pages.data(), pages.size());
  refuse(errc::no_buffer_space, std::string("rte_dev_dma_map: ") + rte_strerror(error));
}

external_memory::~external_memory() {
  if (mapped_for_ != nullptr)
    rte_dev_dma_unmap(mapped_for_, pages_.data(), reinterpret_cast<std::uintptr_t>(pages_.data()),
                      pages_.size());
  rte_extmem_unregister(pages_.data(), pages_.size());
}

}  // namespace nd::pmd
