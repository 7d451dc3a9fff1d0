#!/usr/bin/env python3
"""The arithmetic of scripts/scale-model, and the tables that it makes."""

import unittest

import scale_model
import scaling


def end(**counters):
    zeros = {f"cycles_{s}": 0 for s in ("rx", "parse", "channel", "socket", "copy", "tx", "wire")}
    return zeros | {"tx_packets": 0, "tx_bytes": 0, "rx_packets": 0, "rx_bytes": 0} | counters


class Costs(unittest.TestCase):
    def test_two_sizes_divide_a_cost(self):
        a, b = scaling.solve([(1, 9000, 100 + 9000 * 0.5), (1, 1500, 100 + 1500 * 0.5)])
        self.assertAlmostEqual(a, 100)
        self.assertAlmostEqual(b, 0.5)

    def test_noise_makes_no_cost_negative(self):
        for costs in ((100, 200), (9000, 10)):
            a, b = scaling.solve([(1, 9000, costs[0]), (1, 1500, costs[1])])
            self.assertGreaterEqual(a, 0)
            self.assertGreaterEqual(b, 0)
            self.assertGreater(a + b, 0)

    def test_the_wire_is_not_the_receivers(self):
        near = end(tx_packets=10, tx_bytes=10000, rx_packets=2, cycles_tx=1000, cycles_rx=20,
                   cycles_copy=500)
        far = end(rx_packets=10, rx_bytes=10000, tx_packets=2, cycles_rx=900, cycles_wire=800,
                  cycles_tx=30)
        parts = scaling.parts_of(near, far, 10000, 1000, 1)
        self.assertAlmostEqual(parts["receive"][2], 0.01)
        self.assertAlmostEqual(parts["wire"][2], 0.08)
        self.assertAlmostEqual(parts["send"][2], 0.1)
        self.assertAlmostEqual(parts["receive_ack"][2] / parts["receive_ack"][0], 10)
        self.assertAlmostEqual(parts["send_ack"][2] / parts["send_ack"][0], 15)

    def test_stages_add_up_to_what_passes_without_the_meter(self):
        metered = [{"gbps": 1, "bytes": 100, "near": end(cycles_tx=60), "far": end(cycles_rx=60)}]
        plain = [{"cycles": 90, "bytes": 100}, {"cycles": 150, "bytes": 100}]
        self.assertAlmostEqual(scaling.scale_of(plain, metered), 0.75)


    def test_costs_of_one_size_give_back_what_was_measured(self):
        names = ("send", "receive", "wire", "write", "read")
        parts = {n: (0.001, 1.1, 0.5) for n in names} | {
            "receive_ack": (0.1, 0, 20), "send_ack": (0.1, 0, 10)}
        one = {f"{n}_byte": 0.2 for n in names}
        costs = scaling.at_one_size(parts, one)
        self.assertAlmostEqual(costs["send_packet"] * 0.001 + costs["send_byte"] * 1.1, 0.5)
        self.assertAlmostEqual(costs["receive_ack"], 200)


class Cases(unittest.TestCase):
    def test_the_grid_has_all_lcores(self):
        grid = scaling.grid()
        for what, values in (("io", scaling.IO), ("dcopy", scaling.DCOPY),
                             ("gbps", scaling.RATES)):
            self.assertEqual(sorted({c[what] for c in grid}), sorted(values))


class Text(unittest.TestCase):
    def test_a_deviation_beyond_is_shown(self):
        checks = [{"what": "a", "measured": 10, "predicted": 12, "deviation": 0.2, "met": False},
                  {"what": "b", "measured": 10, "predicted": 11, "deviation": 0.1, "met": True}]
        text = scale_model.checks_table({"checks": checks})
        self.assertIn("| a | 10.0 | 12.0 | +20.0% | BEYOND 15 % |", text)
        self.assertEqual(text.count("BEYOND"), 1)

    def test_limits_are_short(self):
        self.assertEqual(scale_model.short("link"), "L")
        self.assertEqual(scale_model.short("sender's io, inline"), "si")
        self.assertEqual(scale_model.short("waiting (receiver's dcopy most busy)"), "w:rd")


if __name__ == "__main__":
    unittest.main()
