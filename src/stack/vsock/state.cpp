#include "vsock/state.hpp"

namespace nd::core {

socket_state next_state(socket_state state, socket_event event) noexcept {
  using s = socket_state;
  // Columns: connect, sync, sync_ack, shutdown, fin, fin_acked, reset.
  static constexpr socket_state table[socket_states][socket_events] = {
      /* closed      */ {s::sync_sent, s::established, s::closed, s::closed, s::closed, s::closed,
                         s::closed},
      /* sync_sent   */
      {s::sync_sent, s::sync_sent, s::established, s::sync_sent, s::sync_sent, s::sync_sent,
       s::closed},
      /* established */
      {s::established, s::established, s::established, s::fin_wait_1, s::close_wait, s::established,
       s::closed},
      /* fin_wait_1  */
      {s::fin_wait_1, s::fin_wait_1, s::fin_wait_1, s::fin_wait_1, s::closing, s::fin_wait_2,
       s::closed},
      /* fin_wait_2  */
      {s::fin_wait_2, s::fin_wait_2, s::fin_wait_2, s::fin_wait_2, s::closed, s::fin_wait_2,
       s::closed},
      /* close_wait  */
      {s::close_wait, s::close_wait, s::close_wait, s::last_ack, s::close_wait, s::close_wait,
       s::closed},
      /* closing     */
      {s::closing, s::closing, s::closing, s::closing, s::closing, s::closed, s::closed},
      /* last_ack    */
      {s::last_ack, s::last_ack, s::last_ack, s::last_ack, s::last_ack, s::closed, s::closed},
  };
  return table[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

}  // namespace nd::core
