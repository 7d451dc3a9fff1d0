// All of libndstack's C++ API. See docs/usage.md.
#pragma once

#include "nd/acceptor.hpp"
#include "nd/borrowed_bytes.hpp"
#include "nd/config.hpp"
#include "nd/endpoint.hpp"
#include "nd/error.hpp"
#include "nd/registered_memory.hpp"
#include "nd/runtime.hpp"
#include "nd/socket.hpp"
#include "nd/stats.hpp"
