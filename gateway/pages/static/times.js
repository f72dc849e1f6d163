// Writes times in the zone of the reader's browser, and keeps the UTC time as a hint.
"use strict";
const language = document.documentElement.lang;
const forms = {
  moment: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }),
  day: new Intl.DateTimeFormat(language, { dateStyle: "medium" }),
};
function localise(root) {
  for (const element of root.querySelectorAll("time[data-form]:not([title])")) {
    const form = forms[element.dataset.form];
    const moment = new Date(element.dateTime);
    if (!form || Number.isNaN(moment.getTime())) continue;
    element.title = element.textContent;
    element.textContent = form.format(moment);
  }
}
localise(document);
document.addEventListener("htmx:load", (event) => localise(event.target));
