// Catch2's session, compiled once for all test programs.
#pragma once

/// Runs the tests of this program as its command line asks; the exit code.
int run_catch(int argc, char** argv);
