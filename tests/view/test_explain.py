"""Tables and JSON that explain a price."""

import json

import numpy as np
from networks import nature_like, slow_stream, two_three_one
from rich.console import Console

from neurosim.chip import Chip
from neurosim.explore.break_even import break_even
from neurosim.explore.sensitivity import tornado
from neurosim.mapping import compile
from neurosim.pricing import price
from neurosim.simulation import simulate
from neurosim.view.documents import run_document, to_json
from neurosim.view.explain import explanation, explanation_document, tornado_table
from neurosim.view.tables import report_table

FIT = Chip.load("loihi1_silicon_fit")
PLACES = {"input": (0, 0), "hidden": (1, 0), "output": (1, 1)}
TRACE = simulate(two_three_one(), np.array([[1.0, 0]]), numerics="float64", reference="all")
PROGRAM = compile(TRACE.network, FIT, placement=PLACES, hypothetical=True)


def text(*tables):
    screen = Console(width=160, markup=False, highlight=False, record=True)
    with screen.capture() as capture:
        for table in tables:
            screen.print(table)
    return capture.get()


def row(shown, start):
    return next(" ".join(line.split()) for line in shown.splitlines() if line.startswith(start))


def test_report_table_says_what_is_waited_for_and_where_energy_goes():
    shown = text(report_table(price(TRACE, PROGRAM, period_s=2e-6)))
    # 409.6 of 1,045.5 pJ: 39 %, 8 of 20 characters
    assert row(shown, "neuron_access") == "neuron_access 8 410 pJ not published 39% ########"
    assert row(shown, "energy ") == "energy >= 1.05 nJ not published"
    assert "barrier: 91% of the time; if there were no barrier, a timestep would take 187 ns instead of 2.19 us (11.7x)" in shown
    assert "core 0 (hidden) sets the time of level 1 in 100% of the timesteps, 6% of all time" in shown
    assert "not modelled: queues and back-pressure; voltage and temperature" in shown
    grai = text(report_table(price(TRACE, compile(TRACE.network, Chip.load("grai_one"), placement=PLACES))))
    assert row(grai, "synapse.dense") == "synapse.dense 5 100 pJ 81.5 pJ .. 100 pJ 22% ####" and row(grai, "static").endswith("78% ################")


def test_explanation_of_a_mapped_run():
    shown = text(*explanation(price(TRACE, PROGRAM), tornado(TRACE, PROGRAM), [break_even(TRACE, PROGRAM, "horowitz_int8")]))
    assert row(shown, "core 0 (hidden)") == "core 0 (hidden) 1 100% 6% # 2.07 us 1.06x"
    assert row(shown, "links took no time") == "links took no time not published -"
    assert row(shown, "static") == "static not priced"
    assert row(shown, "output") == "output 0 J 21.6 pJ 71 pJ 102 pJ 195 pJ 19% ####"
    assert "core 0 draws most: 848 pJ per timestep, 1.63 times the mean of 2 cores" in shown
    assert row(shown, "timing.barrier").startswith("timing.barrier 1 us (500 ns .. 1.5 us) 1.19 us 3.19 us ------------|============ fitted")
    assert "break-even of loihi1_silicon_fit and horowitz_int8 (memory models differ)" in shown and "1 more constant" in shown


def test_included_actions_and_machines():
    report = price(TRACE, compile(TRACE.network, Chip.load("grai_one"), placement=PLACES))
    shown = text(*explanation(report))
    assert row(shown, "event_out") == "event_out 2 in synapse" and "* alone in its level" in shown
    machine = text(*explanation(price(TRACE, Chip.load("horowitz_int8"))))
    assert "why a timestep takes" not in machine and row(machine, "host_in") == "host_in 2 not priced"


def test_tables_of_a_larger_run_fit_the_screen():
    net = nature_like(np.random.default_rng(0))
    trace = simulate(net, slow_stream(net.input.shape, 4, np.random.default_rng(1)), numerics="float64", reference="none")
    program = compile(net, FIT.with_settings({"core.neurons": 12, "noc.flit_time": "4 ns"}), hypothetical=True)
    bars = tornado(trace, program)
    shown = text(*explanation(price(trace, program), bars))
    assert "synapse" in row(shown, "layer") and all(len(line) <= 160 for line in shown.splitlines())
    assert "more constants with less or no effect" in text(tornado_table(bars, most=3))


def test_json_has_the_same():
    report, bars = price(TRACE, PROGRAM), tornado(TRACE, PROGRAM)
    crossing = break_even(TRACE, PROGRAM, "horowitz_int8_sram")
    document = json.loads(to_json(run_document(TRACE, report) | explanation_document(bars, [crossing])))
    assert len(document["tornado"]) == len(bars) and document["tornado"][0]["constant"] == bars[0].constant
    assert document["break_even"][0]["without_static"]["verdict"] == crossing.without_static.verdict
    assert document["latency"]["places"][0]["kind"] == "barrier" and document["latency"]["gains"]["links"] is None
    assert document["energy"]["by_layer"]["hidden"]["synapse"] == report.energy.by_layer["hidden"]["synapse"]
    assert document["area"] is None or document["area"]["area_m2"] > 0
    assert document["not_modelled"] and document["coverage"] == list(report.coverage)
