"use strict";
for (const box of document.querySelectorAll(".units")) {
  const text = box.querySelector("pre"), output = box.querySelector("output");
  if (!text || !output) continue;
  let current = text.firstElementChild;
  const show = unit => { if (unit) output.textContent = unit.dataset.d; };
  text.addEventListener("mouseover", event => show(event.target.closest("span")));
  text.addEventListener("click", event => { const unit = event.target.closest("span"); if (unit) move(unit); });
  text.addEventListener("focusin", event => show(event.target.closest("span")));
  const move = unit => {
    if (!unit) return;
    current.tabIndex = -1;
    current = unit;
    current.tabIndex = 0;
    current.focus();
  };
  const line = (unit, step) => {
    const place = unit.getBoundingClientRect();
    for (let n = unit; (n = step > 0 ? n.nextElementSibling : n.previousElementSibling);) {
      const other = n.getBoundingClientRect();
      if (step > 0 ? other.top > place.top + 2 && other.right > place.left : other.top < place.top - 2 && other.left <= place.left) return n;
    }
    return step > 0 ? text.lastElementChild : text.firstElementChild;
  };
  text.addEventListener("keydown", event => {
    const go = {
      ArrowRight: () => current.nextElementSibling, ArrowLeft: () => current.previousElementSibling,
      ArrowDown: () => line(current, 1), ArrowUp: () => line(current, -1),
      Home: () => text.firstElementChild, End: () => text.lastElementChild,
    }[event.key];
    if (go && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); move(go()); }
  });
}
