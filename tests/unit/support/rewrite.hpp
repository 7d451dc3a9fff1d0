// Packets that are changed under way, with checksums as if they had been sent so.
#pragma once

#include <vector>

#include "unit/support/made_wire.hpp"
#include "wire/packet_format.hpp"

namespace nd::test {

struct copied_record {
  wire::record record;
  std::vector<std::byte> payload;
};

inline std::vector<copied_record> copied_records(made_frame& f) {
  std::vector<copied_record> all;
  wire::record_reader reader(f.records());
  for (wire::record_view r; reader.next(r);) {
    copied_record c{.record = {}, .payload = {r.payload.begin(), r.payload.end()}};
    c.record.seq = r.header->seq;
    c.record.grant = r.header->grant_seq;
    c.record.source = r.header->source;
    c.record.dest = r.header->dest;
    c.record.length = r.header->len;
    c.record.type = r.type();
    all.push_back(std::move(c));
  }
  return all;
}

/// Writes a packet with records anew. Its size must stay.
inline void write_anew(made_frame& f, const wire::channel_header& header,
                       const std::vector<copied_record>& all) {
  wire::packet_writer writer(f.packet().data(), header, f.format());
  for (const copied_record& c : all)
    writer.append(c.record, c.payload, wire::crc32c(wire::crc32c_start, c.payload));
  writer.finish();
}

/// Calls `change` with the records of a packet (encap ip), and writes it anew. Its size must stay.
template <class Change>
void rewrite_records(made_frame& f, Change&& change) {
  std::vector<copied_record> all = copied_records(f);
  if (all.empty()) return;
  change(all);
  write_anew(f, wire::channel_header(f.header()), all);
}

/// The same with the header of a packet that may have records; others stay.
template <class Change>
void rewrite_header(made_frame& f, Change&& change) {
  if (!wire::has_records(f.header().kind)) return;
  wire::channel_header header = f.header();
  change(header);
  write_anew(f, header, copied_records(f));
}

}  // namespace nd::test
