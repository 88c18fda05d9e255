// Sets the theme before anything is drawn, so that no page flashes white. Not a module: those run after the first paint.
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem("longshore.theme");
  } catch {
    // storage is switched off: the system's theme it is
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
