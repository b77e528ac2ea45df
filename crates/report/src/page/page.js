"use strict";
(() => {
  const slider = document.getElementById("step");
  if (!slider) return;
  const steps = slider.dataset.steps.split(",").map(Number);
  const said = document.getElementById("step-said");
  // Of each run the newest grid up to the step that is asked for; its first one before that.
  const show = () => {
    const step = steps[slider.value];
    said.textContent = "step " + step;
    for (const figure of document.querySelectorAll("figure[data-run]")) {
      const images = [...figure.querySelectorAll("img")];
      const shown = images.filter((image) => Number(image.dataset.step) <= step).pop() || images[0];
      for (const image of images) image.hidden = image !== shown;
      figure.querySelector(".at").textContent = "step " + shown.dataset.step;
    }
  };
  const follow = () => {
    const asked = /^#step=(\d+)$/.exec(location.hash);
    if (!asked) return;
    const past = steps.filter((step) => step <= Number(asked[1])).length;
    slider.value = Math.max(0, past - 1);
    slider.dispatchEvent(new Event("input"));
  };
  slider.addEventListener("input", show);
  addEventListener("hashchange", follow);
  show();
  follow();
})();
