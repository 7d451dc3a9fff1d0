// The main of test programs that need no EAL of their own.
#include "catch_main.hpp"

int main(int argc, char** argv) {
  return run_catch(argc, argv);
}
