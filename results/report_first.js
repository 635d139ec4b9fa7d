/* Before anything is shown: the page has a script, and the reader may have chosen a theme. */
document.documentElement.classList.add("scripted");
try {
  const theme = localStorage.getItem("prunebench-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* The browser keeps nothing for this page. */ }
