// The packets of a channel that are on their way, and the records in them.
#pragma once

#include <cstdint>
#include <span>

#include "base/index_queue.hpp"
#include "base/time.hpp"
#include "channel/delivery_rate.hpp"
#include "wire/record.hpp"

namespace nd::core {

struct sent_packet {
  enum class fate : std::uint8_t { in_flight, acked, lost, never_sent };

  instant sent;
  std::uint64_t first_record = 0;  ///< number in the record queue
  std::uint32_t bytes = 0;         ///< from the channel header to the trailer
  std::uint16_t records = 0;
  std::uint16_t probe_mtu = 0;  ///< IP packet size of a path MTU probe; 0: not a probe
  fate state = fate::in_flight;
  bool given_away = false;  ///< its records are another channel's now
  delivery_mark delivery;
};

/// Numbered packets from the oldest one that is in flight to the newest. A number is given once.
class sent_packets {
 public:
  /// All numbers below are acknowledged or lost.
  std::uint64_t floor() const noexcept { return packets_.begin(); }
  /// The next packet's number.
  std::uint64_t next_number() const noexcept { return packets_.end(); }
  std::uint64_t bytes_in_flight() const noexcept { return bytes_in_flight_; }
  /// In packets that are in flight; also those that were given away.
  std::uint64_t records_in_flight() const noexcept { return records_in_flight_; }
  bool empty() const noexcept { return packets_.empty(); }
  std::size_t span() const noexcept { return packets_.size(); }
  const sent_packet& oldest() const noexcept { return packets_[packets_.begin()]; }
  const sent_packet& operator[](std::uint64_t number) const noexcept { return packets_[number]; }

  /// Numbering starts anywhere, so that wrapping is a case like any other.
  void start_at(std::uint64_t number) noexcept { packets_.start_at(number); }

  /// Remembers a record of the packet that add() closes.
  void add_record(const wire::record& r) { records_.push(r); }
  void add(instant now, std::uint32_t bytes, std::uint16_t probe_mtu = 0,
           const delivery_mark& delivery = {}) {
    sent_packet p;
    p.sent = now;
    p.bytes = bytes;
    p.first_record = next_record_;
    p.records = static_cast<std::uint16_t>(records_.end() - next_record_);
    p.probe_mtu = probe_mtu;
    p.delivery = delivery;
    packets_.push(p);
    next_record_ = records_.end();
    bytes_in_flight_ += bytes;
    records_in_flight_ += p.records;
  }

  /// Leaves a number out. Those before it must not all be settled yet.
  void skip() {
    sent_packet p;
    p.first_record = next_record_;
    p.state = sent_packet::fate::never_sent;
    packets_.push(p);
  }

  /// Ends the flight of a packet that is in flight; its records go to `each(record)`.
  template <class F>
  void resolve(std::uint64_t number, sent_packet::fate fate, F&& each) {
    sent_packet& p = packets_[number];
    p.state = fate;
    bytes_in_flight_ -= p.bytes;
    records_in_flight_ -= p.records;
    if (!p.given_away) for_each_record(p, each);
  }

  /// The records of all packets in flight go to `each(record)`. The packets stay, without them:
  /// what becomes of them still tells of the path.
  template <class F>
  void give_away(F&& each) {
    for (std::uint64_t n = packets_.begin(); n != packets_.end(); ++n) {
      sent_packet& p = packets_[n];
      if (p.state != sent_packet::fate::in_flight || p.given_away) continue;
      for_each_record(p, each);
      p.given_away = true;
    }
  }

  /// Forgets packets at the front that are no longer in flight.
  void trim() noexcept {
    while (!packets_.empty() && packets_.front().state != sent_packet::fate::in_flight) {
      for (unsigned n = packets_.front().records; n > 0; --n) records_.pop();
      packets_.pop();
    }
  }

 private:
  template <class F>
  void for_each_record(const sent_packet& p, F& each) {
    for (std::uint64_t r = p.first_record; r != p.first_record + p.records; ++r) each(records_[r]);
  }

  index_queue<sent_packet> packets_;
  index_queue<wire::record> records_;
  std::uint64_t next_record_ = 0;
  std::uint64_t bytes_in_flight_ = 0;
  std::uint64_t records_in_flight_ = 0;
};

}  // namespace nd::core
