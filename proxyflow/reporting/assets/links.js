// The MLflow UI shows the page as a blob in a sandboxed frame, where browsers follow no link to a part of it.
if (location.protocol === "blob:") {
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    const part = document.querySelector(link.getAttribute("href"));
    part.tabIndex = -1; // so that the keyboard goes on from there, as it would after a link
    part.focus({ preventScroll: true });
    part.scrollIntoView();
  });
}
