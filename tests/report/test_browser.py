"""The page in a browser, as a reader uses it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from mapengine.report.page.building import page_html
from report import hostile
from report.pages import example_page, example_survey, page_of, shipped, spelled_out

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=30_000)  # of a busy machine
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
MANY = """\
mapengine: 1
name: many
source: {tensors: a.safetensors, config: c.json}
target: {tensors: b.safetensors, config: c.json}
config: {n: n}
dims: {i: n, j: 1000}
tensors: ["a.{i}.{j} -> b.{i}.x.{j}": {shape: [4]}]
example: {n: 20}
"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(browser):
    """A window of each colour scheme."""
    yield {scheme: browser.new_context(color_scheme=scheme) for scheme in ("light", "dark")}


@pytest.fixture
def open_page(contexts, tmp_path):
    """Opens a page's text from a file; at the end nothing was wrong, and nothing asked for."""
    path, pages, asked, wrong = tmp_path / "page.html", [], [], []

    def answer(route):
        if route.request.url.startswith(path.as_uri()):
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    def open_text(text, scheme="light", at=""):
        path.write_text(text, encoding="utf-8")
        page = contexts[scheme].new_page()
        pages.append(page)
        page.route("**/*", answer)
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri() + at)
        page.wait_for_selector("html.ready")
        return page

    yield open_text
    assert asked == [] and wrong == []
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def mixtral():
    return example_page("mixtral", layout=frozenset({"hub", "mistral"}))


STEPS = "() => JSON.stringify([...report.steps()].map(({taken, made}) => ({taken, made})))"
ANSWERED = "text => document.getElementById('found').dataset.query === text"


def searched(page, text):
    page.fill("#search", text)
    page.wait_for_function(
        "text => document.getElementById('found').dataset.query === text", arg=text
    )
    return page.inner_text("#found")


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", shipped())
def test_the_page_spells_out_the_plan_tensor_for_tensor(name, reverse, open_page):
    surveys = example_survey(name, reverse=reverse)
    page = open_page(page_html(surveys))
    if surveys[-1].plan is None:  # one-way
        assert "there is no plan" in page.inner_text(".verdict")
        return
    assert json.loads(page.evaluate(STEPS)) == spelled_out(surveys) != []


def test_each_colour_scheme_has_its_own_colours_and_both_can_be_read(mixtral, open_page):
    seen = {}
    for scheme in ("light", "dark"):
        page = open_page(mixtral, scheme)
        page.click(".rule >> nth=4")
        page.click(".tensors tbody tr >> nth=0")
        seen[scheme] = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert page.evaluate(FAINT) == []
    assert seen["light"] != seen["dark"]


FAINT = """() => {  // texts of too little contrast, by WCAG AA
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const seen = {};
  const channels = (text) => {
    if (!seen[text]) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      seen[text] = [...canvas.getImageData(0, 0, 1, 1).data];
    }
    return seen[text];
  };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => {
    const v = c[i] / 255;
    return sum + part * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return channels("white");
  };
  const faint = [];
  for (const one of document.querySelectorAll("body *:not(script):not(option)")) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.offsetParent || one.disabled) continue;
    const pair = [channels(getComputedStyle(one).color), behind(one)].map(light).sort();
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) faint.push(`${one.className} ${one.textContent.trim()} ${contrast}`);
  }
  return faint;
}"""


def test_the_counts_are_those_of_the_plan(mixtral, open_page):
    page = open_page(mixtral)
    (one,) = example_survey("mixtral", layout=frozenset({"hub", "mistral"}))
    counts = page.locator(".facts b").all_inner_texts()
    assert sum(int(text[1:]) for text in counts) == len(one.written)
    assert page.inner_text("#found") == f"{len(one.by_rule)} of {len(one.by_rule)} rules"
    assert page.inner_text(".end.target .big") == f"{len(one.written)} tensors"


def test_searching_shows_the_rules_and_the_keys_that_match(mixtral, open_page):
    page = open_page(mixtral)
    assert searched(page, "layers.2. WQ") == "1 match in 1 rule, 0 fields"
    expect(page.locator(".rule:visible")).to_have_count(1)
    assert page.locator(".hit:visible").all_inner_texts() == ["layers.2.attention.wq.weight"]
    assert searched(page, "layers.*.experts.4.w?") == "0 matches in 0 rules, 0 fields"
    expect(page.locator("#nothing")).to_be_visible()
    assert searched(page, "layers.*.experts.4.w") == "9 matches in 2 rules, 0 fields"
    assert searched(page, "rope_theta") == "0 matches in 0 rules, 1 field"
    page.press("#search", "Escape")
    expect(page.locator(".rule:visible")).to_have_count(12)


def test_rules_are_filtered_by_op_and_kind(mixtral, open_page):
    page = open_page(mixtral)
    shown = {
        "op split": 2, "op transpose": 1, "moved": 4, "copied": 8, "changed": 0, "noted": 2, "": 12,
    }  # fmt: skip
    for wanted, rules in shown.items():
        page.select_option("#filter", wanted)
        expect(page.locator(".rule:visible")).to_have_count(rules)


def test_a_click_on_a_tensor_traces_it(mixtral, open_page):
    page = open_page(mixtral)
    page.locator(".rule", has_text="w2").locator("summary").click()
    rows = page.locator(".tensors:visible tbody tr")
    expect(rows).to_have_count(3)
    rows.nth(1).click()
    expect(page.locator("#trace .indices")).to_have_text("layer 1")
    taken = page.locator("#trace .taken li").all_inner_texts()
    assert len(taken) == 1 and "layers.1.block_sparse_moe.w2" in taken[0]
    assert "bfloat16 [280, 80]" in taken[0] and "consolidated.00.pt" in taken[0]
    made = page.locator("#trace .made li").all_inner_texts()
    assert [text.split("\n")[0] for text in made] == [
        f"model.layers.1.block_sparse_moe.experts.{i}.w2.weight" for i in range(5)
    ]
    assert all("bfloat16 [80, 56]" in one and "model.safetensors" in one for one in made)
    assert page.locator("#trace .spec").all_inner_texts() == [
        "bfloat16 [280, 80]", "5 × bfloat16 [56, 80]", "5 × bfloat16 [80, 56]",
    ]  # fmt: skip
    assert page.locator("#trace .op .chip").all_inner_texts() == ["split", "transpose"]
    page.click("#trace button >> nth=1")
    expect(page.locator("#trace .indices")).to_have_text("layer 2")
    page.keyboard.press("Escape")
    expect(page.locator("#trace")).to_be_hidden()


def test_enter_opens_the_first_match_and_its_link_opens_it_again(mixtral, open_page):
    page = open_page(mixtral)
    page.keyboard.press("/")
    page.keyboard.type("layers.0.attention.wk")
    page.keyboard.press("Enter")
    key = "layers.0.attention.wk.weight"
    assert page.inner_text("#trace h2") == key and page.url.endswith(f"#{key}")
    again = open_page(mixtral, at=f"#{key}")
    assert again.inner_text("#trace h2") == key
    assert again.locator("#trace .marked").all_inner_texts()[0].startswith(key)


def test_hostile_names_do_nothing(tmp_path, open_page):
    mapping, source = hostile.write(tmp_path, {hostile.ATTACK + "stray": torch.zeros(1)})
    page = open_page(page_of(mapping, source))
    page.click("summary >> nth=0")
    page.click(".tensors tbody tr >> nth=0")
    assert searched(page, "</script>").startswith("2 matches in 1 rule")
    expect(page.locator("#trace .taken code >> nth=0")).to_have_text(f"{hostile.ATTACK}.0")
    assert page.evaluate("() => typeof hacked") == "undefined"
    expect(page.locator("img, script:not(:nth-last-child(-n+2))")).to_have_count(0)


def test_thousands_of_tensors_are_drawn_by_rule(tmp_path, open_page):
    (tmp_path / "many.yaml").write_text(MANY)
    text = page_html(example_survey(tmp_path / "many.yaml"))
    assert len(text) < 60_000
    page = open_page(text)
    assert page.inner_text(".end.target .big") == "20,000 tensors"
    assert page.evaluate("() => document.querySelectorAll('*').length") < 500
    page.click("summary >> nth=0")
    expect(page.locator(".tensors tbody tr")).to_have_count(100)
    page.click(".body .more")
    expect(page.locator(".tensors tbody tr")).to_have_count(200)
    assert searched(page, "b.19.x.999") == "1 match in 1 rule, 0 fields"
    page.click(".hit")
    assert page.inner_text("#trace .indices").split("\n") == ["i 19", "j 999"]


def test_without_script_the_rules_are_there(mixtral, browser, tmp_path):
    Path(tmp_path / "page.html").write_text(mixtral)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page.locator(".rule:visible")).to_have_count(12)
    assert page.locator(".fields tbody tr:visible").count() > 20
    context.close()
