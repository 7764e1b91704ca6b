"""A headless Chromium, and how well its text can be read."""

import shutil
from contextlib import contextmanager

from needs import needs

CHROMIUM = shutil.which("chromium")
# Without these a browser styles for updates, and in a container has no sandbox.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
# Contrast by WCAG 2 of an element's colour against what it stands on: the first ground that is not
# transparent, or the bar of a plot that is drawn before it.
CONTRAST = """element => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    const [x, y, z] = [r, g, b].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return [0.2126 * x + 0.7152 * y + 0.0722 * z, a];
  };
  const style = getComputedStyle(element), bar = element.matches(".inside") && element.previousElementSibling;
  const [text] = light(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
  for (let below = bar || element; below; below = below.parentElement) {
    const [ground, alpha] = light(getComputedStyle(below)[bar ? "fill" : "backgroundColor"]);
    if (alpha === 255) return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
  }
}"""


@contextmanager
def chromium():
    """The browser, by playwright."""
    needs(CHROMIUM, "the program chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()
