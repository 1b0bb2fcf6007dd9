// What the page of a search knows, for plots.js.
const page = JSON.parse(document.getElementById("data").textContent);
