// Right checksums for frames that were made up: so that what is behind the checks is reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lcore/framing.hpp"
#include "wire/packet_format.hpp"

namespace nd::fuzz {

/// Puts the CRC32C that `format` asks for into the last bytes of an ND packet. False where it is
/// too short, or its records cannot be walked: no CRC makes it right then.
bool seal_packet(std::span<std::byte> packet, const wire::packet_format& format);

/// Rights the checksums of an IPv4 frame, as far as its lengths allow: IPv4's, then ICMP's, UDP's
/// or the packet's CRC32C. `crc`: packets but those of handshakes have one too.
void seal_frame(std::span<std::byte> frame, const core::host_address& to, bool crc = true);

}  // namespace nd::fuzz
