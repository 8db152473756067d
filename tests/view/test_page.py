"""Pages: one file that fetches nothing; every figure is the report's; controls do in a browser what Python computes."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import browser, errors, resize, visit
from networks import INPUT, full, layer, nature_like, network, slow_stream

import neurosim as ns
from neurosim.errors import PricingError
from neurosim.explore import tornado

pytest.importorskip("bokeh")
pytest.importorskip("jinja2")

from neurosim.view.page import mesh, report_page, study_page
from neurosim.view.page.activity import binned_macs, bins_of
from neurosim.view.page.document import embedded_json
from neurosim.view.page.study import columns_of

HOSTILE = "</script><script>window.broken=1</script><img src=x onerror=\"window.broken=1\">"


class Page(HTMLParser):
    """Elements of a page, its data, the text of its cells, and the figures of its tiles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.ids, self.stack = [], [], [], []
        self.feed(text)
        self.data = json.loads(next(t for tag, attributes, t in self.texts if attributes.get("id") == "data"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.stack.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, text):
        if self.stack and text.strip():
            self.texts.append((*self.stack[-1], text.strip()))

    def tiles(self):
        """label -> (value, text)."""
        found, label = {}, None
        for tag, attributes, text in self.texts:
            if attributes.get("class") == "label":
                label = text
            if tag == "data":
                found[label] = float(attributes["value"]), text
        return found


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    return ns.simulate(nature_like(rng), slow_stream((20, 20, 2), 90, rng), resets=np.isin(np.arange(90), (0, 31)))


def priced(run, chip, settings=None, period_s=None):
    program = ns.compile(run.network, ns.Chip.load(chip).with_settings(settings or {}), hypothetical=True)
    return program, ns.price(run, program, period_s=period_s)


@pytest.fixture(scope="module")
def loihi(run):
    return priced(run, "loihi2", {"core.neurons": 16})


@pytest.fixture(scope="module")
def text(run, loihi):
    return report_page(run, *loihi, bars=tornado(run, loihi[0]))


def test_one_file_that_fetches_nothing(text):
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    style, script = (next(t for tag, _, t in page.texts if tag == kind) for kind in ("style", "script"))
    own = [t for tag, a, t in page.texts if tag == "script" and "neurosimPage" in t]
    assert len(own) == 1 and script
    for part in (style, *own):
        assert not re.search(r"https?:|@import|url\(|fetch\(|import\(|XMLHttpRequest|WebSocket|eval\(", part)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "connect-src" not in policy and "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


def test_sections_come_in_their_order(text):
    ids = [a["id"] for tag, a in Page(text).elements if tag == "section"]
    assert ids == ["summary", "why", "mesh", "energy", "activity", "layers", "memory", "prices", "provenance", "limits"]
    assert "Simulated model of loihi2, not silicon." in text
    tags = [tag for tag, _ in Page(text).elements]
    assert tags.count("h1") == 1 and tags.count("h2") == 10 and {"header", "nav", "main", "footer"} <= set(tags)


def test_every_figure_of_the_summary_is_the_reports(run, text, loihi):
    _, report = loihi
    tiles, n, c = Page(text).tiles(), run.n_timesteps, run.totals_by_counter
    macs = c["effective_macs"] + c["effective_acs"]
    all_ops = macs + c["unweighted_ops"] + c["neuron_updates"] + c["input_compares"]
    assert {name: value for name, (value, _) in tiles.items()} == {
        "energy per timestep": report.energy.per_timestep_j,
        "time of a timestep": report.latency.timestep_s["mean"],
        "longest timestep": report.latency.timestep_s["max"],
        "time to an answer": report.latency.answer_s["mean"],
        "inputs per second": report.latency.throughput_hz,
        "cores used": report.cores_used,
        "silicon area": report.area.area_m2,
        "effective MACs per timestep": macs / n,
        "all operations per timestep": all_ops / n,
        "events per timestep": c["events"] / n,
        "fewer MACs than dense": c["dense_macs"] / macs,
    }
    assert not report.energy.complete and tiles["energy per timestep"][1].startswith("≥ ")
    critical = report.latency.critical
    assert f"Critical core: core {critical['core']} ({critical['layer']}). It is waited for in {critical['share']:.0%} of all time." in text


def test_period_is_shown_and_priced(run):
    program, report = priced(run, "loihi2", period_s=1e-3)
    page = Page(report_page(run, program, report, bars=tornado(run, program, 1e-3)))
    assert page.tiles()["energy of a control period"][0] == report.period.total_j
    assert page.tiles()["missed deadlines"][0] == report.period.missed_share == 0
    assert page.data["prices"]["total_j"] == report.period.total_j
    assert again(page.data["prices"]) == pytest.approx(report.period.total_j, rel=1e-12)


def again(prices, **changed):
    """The sum that the page computes."""
    terms = sum(t["count"] * changed.get(t["path"], t["figure"]) for t in prices["terms"])
    return (prices["rest_j"] + terms) / prices["per"]


def test_windows_add_up_to_the_report(run, loihi):
    program, report = loihi
    edges = mesh.windows_of(run.n_timesteps, program.cores_used)
    assert len(edges) - 1 == mesh.WINDOWS and edges[0] == 0 and edges[-1] == 90
    found, lengths = mesh.per_window(run, program, edges), np.diff(edges)[:, None]
    for name, counts in report.traffic.cores.items():
        if name in found:
            assert np.allclose((found[name] * lengths).sum(0), counts, rtol=1e-12), name
    assert np.allclose((found["work"] * lengths).sum(0) / 90, report.latency.core_work_s, rtol=1e-9)
    assert np.allclose((found["waited"] * lengths).sum(0), report.latency.critical_share * 90 * report.latency.timestep_s["mean"], rtol=1e-9)
    assert (mesh.windows_of(10**6, 100_000) == [0, 10**6]).all() and len(mesh.windows_of(7, 4)) == 8


def test_windows_do_not_depend_on_blocks(run, loihi, monkeypatch):
    edges = mesh.windows_of(run.n_timesteps, loihi[0].cores_used)
    whole = mesh.per_window(run, loihi[0], edges)
    monkeypatch.setattr("neurosim.pricing.traffic.CHUNK", 3000)  # a few timesteps at a time
    cut = mesh.per_window(run, loihi[0], edges)
    for name, values in whole.items():
        assert np.allclose(values, cut[name], rtol=1e-9, atol=1e-18), name


@pytest.mark.parametrize("chip", ["loihi2", "grai_one", "seneca", "loihi1", "horowitz_int8"])
def test_terms_price_any_constant_again(run, chip):
    """Each constant at its ends: the page's sum is what Python prices with the chip so set, where no time changes with it."""
    program, report = priced(run, chip)
    bars = [bar for bar in tornado(run, program) if bar.moves == "energy"]
    prices = Page(report_page(run, program, report, bars=bars)).data["prices"]
    known = {t["path"] for t in prices["terms"]}
    assert again(prices) == pytest.approx(report.energy.per_timestep_j, rel=1e-12)
    linear = [bar for bar in bars if bar.constant in known]
    assert known == {bar.constant for bar in linear} and all(b.constant.rpartition(".")[2] in ("time", "cycles", "clock", "barrier", "flit_time")
                                                             for b in bars if b not in linear)
    for bar in linear:
        for end, settings in ((bar.low, bar.settings_low), (bar.high, bar.settings_high)):
            changed = ns.Chip.load(chip).with_settings(settings)
            fresh = ns.price(run, replace(program, chip=changed))
            assert again(prices, **{bar.constant: end}) == pytest.approx(fresh.energy.per_timestep_j, rel=1e-9), bar.constant


def test_many_cores_make_few_windows(run, loihi, monkeypatch):
    monkeypatch.setattr(mesh, "MOST_VALUES", 9 * loihi[0].cores_used * 4)
    shown = Page(report_page(run, *loihi)).data["mesh"]
    assert shown["windows"] == [[0, 90], [0, 30], [30, 60], [60, 90]] and {len(rows) for rows in shown["values"].values()} == {4}
    monkeypatch.setattr(mesh, "MOST_VALUES", 1)
    text = report_page(run, *loihi)
    assert Page(text).data["mesh"]["windows"] == [[0, 90]] and 'data-key="window"' not in text


def test_activity_bins_hold_all_macs(run):
    for n_bins in (7, 90):
        edges = np.linspace(0, 90, n_bins + 1).astype(np.int64)
        found = binned_macs(run, edges) * np.diff(edges)[:, None]
        assert found.sum() == pytest.approx(run.totals_by_counter["effective_macs"], rel=1e-12)
    assert len(bins_of(90)) == 91 and len(bins_of(5000)) == 601


def test_a_machine_without_mesh_says_so(run):
    program, report = priced(run, "horowitz_int8")
    text = report_page(run, program, report, bars=tornado(run, program))
    for said in ("has no mesh of cores: nothing is mapped", "The chip file of horowitz_int8 gives no time", "no core has limits to keep",
                 "Nothing is mapped on cores"):
        assert said in text, said
    assert "mesh" not in Page(text).data


def test_a_chip_without_times_or_energies_says_so(run):
    program, report = priced(run, "seneca")
    text, visits = report_page(run, program, report), report.traffic.cores["synapse_visits"]
    assert "publishes no time, so no core can be called critical" in text and "No constant was varied for this page." in text
    assert f"Core {visits.argmax()} walks most synapses: {visits.max() / visits.sum():.0%} of 4 cores&#39; visits." in text
    assert [c["name"] for c in Page(text).data["mesh"]["counters"]][0] == "synapse_visits"
    program, report = priced(run, "spinnaker2")
    text = report_page(run, program, report, bars=tornado(run, program))
    assert "prices no energy of what happened" in text and "so there is nothing to price again" in text


def test_all_time_in_the_barrier_makes_no_core_critical(run):
    program, report = priced(run, "truenorth")
    assert report.latency.critical["share"] == 0
    text = report_page(run, program, report)
    assert "No core or link is critical: of the priced time, 100% is the barrier. Core " in text and "Outlined" not in text


def test_a_critical_link_is_named(run):
    program, report = priced(run, "loihi2", {"core.neurons": 16, "noc.flit_time": "1 us"})
    link = report.latency.critical["link"]
    text = report_page(run, program, report)
    assert f"Critical link: link {link}. It is waited for in" in text and f"Marked: link {link}" in text


def test_a_run_without_counts_per_timestep_says_so(run):
    quiet = ns.simulate(run.network, np.zeros((2, 20, 20, 2)), record="none")
    program = ns.compile(run.network, ns.Chip.load("horowitz_int8"))
    assert "there is no curve" in report_page(quiet, program, ns.price(quiet, program))


def test_report_of_another_run_is_refused(run, loihi):
    program, report = loihi
    with pytest.raises(PricingError, match="give what belongs together"):
        report_page(run, program, replace(report, chip="grai_one"))


@pytest.fixture(scope="module")
def hostile():
    rng = np.random.default_rng(1)
    net = network([layer(HOSTILE, full(INPUT, 5, 6, rng=rng)), layer("{{ 7*7 }}", full(0, 6, 2, rng=rng), ())], (5,))
    trace = ns.simulate(net, slow_stream((5,), 8, rng))
    return trace, *priced(trace, "loihi2")


def test_hostile_layer_names_are_text(hostile):
    text = report_page(*hostile, bars=tornado(*hostile[:2]))
    assert "<img" not in text.replace("\\u003cimg", "") and "<script>window" not in text
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 3 and not [1 for tag, _ in page.elements if tag == "img"]
    cells = [t for tag, _, t in page.texts if tag == "td"]
    assert HOSTILE in cells and "{{ 7*7 }}" in cells


def test_embedded_json_cannot_end_its_element():
    tricky = {"a": ["</script>", "<!--", "&amp;", "\u2028"], "b": float("nan"), "c": [float("inf"), 1.5]}
    text = embedded_json(tricky)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": tricky["a"], "b": None, "c": [None, 1.5]}


ROWS = [
    {"threshold": t, "core.neurons": n, "energy_j": 1e-6 / (1 + t) * n, "latency_s": 1e-3 / n, "cores_used": 64 // n, "score": 200 - 300 * t * t,
     "score_low": 190 - 300 * t * t, "score_high": 210 - 300 * t * t, "effective_macs": 1000 * (1.1 - t), "on_front": n == 16, "fits": True, "chip": HOSTILE}
    for t, n in ((0.0, 16), (0.1, 32), (0.2, 16), (0.5, 64))
] + [{"threshold": 0.7, "core.neurons": 1, "fits": False, "why_not": "layer 'fc1': 4 neurons > 1"}]  # fmt: skip


def test_study_page_stands_alone():
    text = study_page(ROWS, "Thresholds <b>", ["energy_j", "latency_s"], {"task": "LunarLander-v3"})
    page = Page(text)
    assert [a["id"] for tag, a in page.elements if tag == "section"] == ["front", "curve", "rows", "about"]
    assert "5 configurations, 4 fit, 2 are on the front of energy per timestep, time of a timestep (filled)." in text
    assert not [1 for tag, _ in page.elements if tag in ("img", "b")]
    numeric, others = columns_of(ROWS)
    assert numeric == ["threshold", "core.neurons", "energy_j", "latency_s", "cores_used", "score", "score_low", "score_high", "effective_macs"]
    assert others == ["chip"]
    cells = [(a, t) for tag, a, t in page.texts if tag == "td"]
    assert ({"class": "number", "data-value": str(ROWS[1]["energy_j"])}, "29.1 uJ") in cells
    assert ({}, "layer 'fc1': 4 neurons > 1") in cells


def test_study_without_two_figures_or_rows():
    assert "not two columns of numbers" in study_page([{"chip": "a", "energy_j": 1.0}], "t")
    assert "The study has no rows." in study_page([], "t")


def test_study_beside_a_run(run, loihi):
    ids = [a["id"] for tag, a in Page(report_page(run, *loihi, study_rows=ROWS)).elements if tag == "section"]
    assert ids[-5:] == ["front", "curve", "rows", "provenance", "limits"]


# ---- in a browser ----


@pytest.fixture(scope="module")
def page(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    with browser() as driver:
        visit(driver, path)
        yield driver


def column(page, name):
    return page.execute_script(f"return Array.from(neurosimPage.model('mesh_source').data['{name}'])")


def put(page, selector, value, event="input"):
    """Set a control as a user's hand does: its value, then its event."""
    page.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event(arguments[2], {bubbles: true}))",
        selector, str(value), event,
    )  # fmt: skip


def test_console_is_silent_and_all_plots_are_drawn(page, text):
    assert errors(page) == []
    names = [item["target_id"] for item in Page(text).data["plots"]]
    assert len(names) == 6
    for name in names:
        assert page.execute_script(f"return document.getElementById('{name}').getBoundingClientRect().height") > 80


def test_time_slider_changes_the_heatmap(page, run, loihi):
    program, _ = loihi
    edges = mesh.windows_of(run.n_timesteps, program.cores_used)
    found = mesh.per_window(run, program, edges)
    for counter in ("synapse_visits", "events_out"):
        put(page, "[data-key=counter]", counter, "change")
        for window in (1, 25, 60):
            put(page, "[data-key=window]", window)
            assert column(page, "shown") == pytest.approx(found[counter][window - 1].tolist(), rel=1e-5), (counter, window)
    said = page.find_element("css selector", "[data-key=window-text]").text
    assert said.startswith(f"Timesteps {edges[59]} to {edges[60] - 1}. Most events out: core {found['events_out'][59].argmax()}.")


def test_time_slider_works_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    put(page, "[data-key=window]", 3)
    slider = page.find_element("css selector", "[data-key=window]")
    before = column(page, "shown")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "4" and column(page, "shown") != before
    slider.send_keys(Keys.HOME)
    assert page.find_element("css selector", "[data-key=window-text]").text.startswith("Whole run, timesteps 0 to 89.")


def test_slider_prices_as_python_does(page, run, loihi):
    program, report = loihi
    bar = next(b for b in tornado(run, program) if b.constant == "cost.synapse.energy")
    fields = {f.find_element("tag name", "legend").text: f for f in page.find_elements("css selector", "fieldset")}
    at = fields["cost.synapse.energy"].get_attribute("data-term")
    total = page.find_element("id", "total")

    def value():
        return float(total.get_attribute("data-value"))

    assert value() == pytest.approx(report.energy.per_timestep_j, rel=1e-12)
    for position, settings in ((100, bar.settings_high), (-100, bar.settings_low)):
        put(page, f"[data-term='{at}'] input[type=range]", position)
        fresh = ns.price(run, replace(program, chip=program.chip.with_settings(settings)))
        assert value() == pytest.approx(fresh.energy.per_timestep_j, rel=1e-12)
    put(page, f"[data-term='{at}'] input[type=number]", 140)  # pJ
    fresh = ns.price(run, replace(program, chip=program.chip.with_settings({"cost.synapse.energy": "140 pJ"})))
    assert value() == pytest.approx(fresh.energy.per_timestep_j, rel=1e-12)
    assert page.execute_script("return neurosimPage.model('priced_again').visible")
    page.find_element("css selector", "form.prices button[type=reset]").click()
    assert value() == pytest.approx(report.energy.per_timestep_j, rel=1e-12)
    assert not page.execute_script("return neurosimPage.model('priced_again').visible")


def test_headers_sort_by_click_and_by_enter(page, run):
    from selenium.webdriver.common.keys import Keys

    table = page.find_element("css selector", "#layers table")
    headers = {h.text: h for h in table.find_elements("css selector", "th button")}

    def names():
        return [row.find_element("tag name", "td").text for row in table.find_elements("css selector", "tbody tr")]

    macs = {layer.name: row["effective_macs"] for layer, row in zip(run.network.layers, run.layer_counts())}
    by_macs = sorted(macs, key=lambda name: -macs[name])
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", table)
    headers["effective MACs"].click()
    assert names() == [*by_macs, "input"]
    headers["effective MACs"].send_keys(Keys.ENTER)
    assert names() == ["input", *by_macs[::-1]]
    headers["layer"].send_keys(Keys.ENTER)
    assert names() == sorted(["input", *macs])
    assert table.find_element("css selector", "th[aria-sort]").text.startswith("layer")


def test_toggle_changes_page_and_plots(page):
    def colours():
        return page.execute_script(
            "const axis = Bokeh.documents[1].roots()[0].below[0];"
            "const style = getComputedStyle(document.body);"
            "return [style.backgroundColor, style.color, axis.major_label_text_color.value ?? axis.major_label_text_color]")  # fmt: skip

    button, light = page.find_element("id", "theme"), colours()
    page.execute_script("window.scrollTo(0, 0)")
    assert light[1] == light[2] and button.get_attribute("aria-pressed") == "false"
    button.click()
    dark = colours()
    assert dark[0] != light[0] and dark[1] == dark[2] != light[1] and button.get_attribute("aria-pressed") == "true"
    button.click()
    assert colours() == light


def test_nothing_is_wider_than_a_narrow_screen(page):
    for width in (400, 1280):
        resize(page, width)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    resize(page, 400)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 400
    resize(page, 1280)


def test_hostile_names_run_nothing(hostile, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(report_page(*hostile, bars=tornado(*hostile[:2])), encoding="utf-8")
    study = tmp_path / "study.html"
    study.write_text(study_page(ROWS, HOSTILE, ["energy_j", "latency_s"]), encoding="utf-8")
    with browser(dark=True) as driver:
        visit(driver, path)
        assert driver.execute_script("return window.broken ?? 0") == 0 and errors(driver) == []
        assert driver.find_element("id", "theme").text == "Light"
        visit(driver, study)
        assert driver.execute_script("return window.broken ?? 0") == 0 and errors(driver) == []
        put(driver, "[data-key=x]", "cores_used", "change")
        shown = driver.execute_script("return Array.from(neurosimPage.model('front_source').data.x)")
        assert shown == [row["cores_used"] for row in ROWS if row["fits"]]
        assert driver.execute_script("return neurosimPage.model('front_figure').below[0].axis_label") == "cores"
        put(driver, "[data-key=y]", "energy_j", "change")
        shown = driver.execute_script("return Array.from(neurosimPage.model('front_source').data.y)")
        assert shown == pytest.approx([row["energy_j"] * 1e6 for row in ROWS if row["fits"]], rel=1e-12)
        assert driver.execute_script("return neurosimPage.model('front_figure').left[0].axis_label") == "energy per timestep, uJ"
