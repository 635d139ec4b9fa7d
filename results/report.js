/* The page: its comparisons, one filter for all, and its theme. */

/** Do something once, when an element comes as near to what is seen as a margin says. */
function onceNear(node, margin, act) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  }, { rootMargin: margin });
  observer.observe(node);
}

/** Sections are made when they come near to what is seen, or when a filter asks for their rows. */
function start() {
  const made = new Map();
  const parse = (node, name) => { const found = node.querySelector(`script.${name}`); return found && JSON.parse(found.textContent); };
  const filter = document.getElementById("filter"), found = document.getElementById("found");
  const words = () => filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const nodes = [...document.querySelectorAll("section.comparison")];
  const make = (node) => {
    if (made.has(node)) return;
    const section = new Section(node, parse(node, "data"), parse(node, "runs"));
    made.set(node, section);
    if (words().length) section.filter(words());
  };
  for (const node of nodes) onceNear(node, "800px", () => make(node));
  const index = new Map(nodes.map((node) => [node, null]));
  const apply = () => {
    const asked = words();
    let count = 0;
    for (const node of nodes) {
      if (asked.length && !index.get(node)) {
        const data = parse(node, "data");
        index.set(node, data.method.map((method, n) => `${data.title} ${data.conditions} ${data.methods[method].name} ${data.target[n]}`.toLowerCase()));
      }
      const passing = asked.length ? index.get(node).filter((text) => asked.every((word) => text.includes(word))).length : 0;
      node.hidden = asked.length > 0 && passing === 0;
      const entry = document.querySelector(`nav a[href="#${node.id}"]`);
      if (entry) entry.closest("li").hidden = node.hidden;
      count += passing;
      if (!node.hidden) made.get(node)?.filter(asked);
    }
    found.textContent = asked.length ? `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}` : "";
  };
  let waiting = 0;
  filter.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 80); });
  filter.addEventListener("keydown", (event) => { if (event.key === "Escape") { filter.value = ""; apply(); } });
  themes(document.getElementById("theme"));
}

/** A button for the other of two themes, which the browser remembers. */
function themes(button) {
  const system = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const say = () => { button.textContent = current() === "dark" ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try { localStorage.setItem("prunebench-theme", root.dataset.theme); } catch { /* For this time only. */ }
    say();
  });
  system.addEventListener("change", say);
  say();
}

if (document.getElementById("filter")) start();
