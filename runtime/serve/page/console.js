// The console: it brings the parts of the page together.

import { Link } from "./link.js";
import { Settings, showFiles, showResponse, showStages } from "./panels.js";
import { Stage } from "./stage.js";
import { Targets } from "./targets.js";

const find = id => document.getElementById(id);
const text = (id, value) => { if (find(id).textContent !== String(value)) find(id).textContent = value; };
const touch = matchMedia("(pointer: coarse)").matches;
const LINKS = { connecting: "connecting", open: "connected", token: "token needed", over: "finished" };

const link = new Link();
const stage = new Stage(find("stage"), find("picture"), find("boxes"));
const targets = new Targets(find("targets"), find("target"), find("no-target"));
const settings = new Settings(
  find("settings"), find("setting"), find("defaults"), changes => order("configure", { changes }),
);
let state = null, selected = null;

// Send a command; what it answers, or null where it is refused, which is shown.
async function order(what, values) {
  try {
    const answer = await link.send(what, values);
    problem("");
    return answer;
  } catch (error) {
    problem(error.message);
    return null;
  }
}

function problem(sentence) {
  if (find("problem").textContent === sentence) return;
  text("problem", sentence);
  find("problem").hidden = !sentence;
}

function say(sentence) {
  text("message", sentence);
}

function select(target) {
  selected = target;
  stage.selected = target;
  stage.root.classList.toggle("holds", target !== null);
  if (state) show({ state });
}

link.addEventListener("link", ({ detail }) => {
  find("link").dataset.state = detail.state;
  text("link", LINKS[detail.state]);
  document.body.classList.toggle("away", detail.state !== "open");
  find("gate").hidden = detail.state !== "token";
  if (detail.state === "token") find("token").focus();
});
link.addEventListener("state", ({ detail }) => show(detail));
find("gate").addEventListener("submit", event => {
  event.preventDefault();
  link.enter(find("token").value.trim());
});

function show({ state: latest, response, picture }) {
  const former = state;
  state = latest;
  const had = former?.targets.some(target => target.id === selected); // a new one is selected before it is shown
  if (had && !state.targets.some(target => target.id === selected)) return select(null);
  if (!former) begin();
  stage.show(state, picture);
  targets.show(state, selected);
  settings.show(state);
  showStages(find("stages"), state.stages_ms);
  showTools();
  showFigures();
  if (response) showMap(response);
  const looked = find("response-on").checked ? selected ?? state.targets[0]?.id ?? null : null;
  find("response").hidden = looked === null; // the map of a target that was dropped does not stay
  link.look(looked);
  const trouble = state.warning ?? (state.ended && !state.ended.endsWith("come to its end") ? state.ended : "");
  if (trouble !== (former?.warning ?? former?.trouble ?? "")) problem(trouble);
  state.trouble = trouble;
  if (state.ended && state.ended !== former?.ended) say(state.ended.replace(state.source, find("source").textContent));
}

function begin() {
  for (const [status, colour] of Object.entries(state.colours)) {
    document.documentElement.style.setProperty(`--${status}`, colour);
  }
  text("source", state.source.includes("://") ? state.source : state.source.split("/").pop());
  find("source").title = state.source;
  document.title = `${find("source").textContent} – spcnet console`;
  for (const name of ["model", "backend", "threads"]) text(name, state[name]);
  find("done").hidden = !state.choosing;
  document.body.classList.toggle("choosing", state.choosing);
}

function showTools() {
  const { live, playing, ended, frame, frames, recording } = state;
  find("waiting").hidden = frame !== null;
  text("waiting", ended && !frame ? "There is no picture" : "Waiting for the first picture");
  find("add").disabled = frame === null;
  find("done").disabled = state.targets.length === 0;
  if (state.choosing) return hint();
  find("file-tools").hidden = live;
  text("play", playing ? "Pause" : "Play");
  find("play").disabled = find("step").disabled = ended !== null || !frame;
  find("reopen").hidden = live && ended === null;
  text("reopen", live ? "Connect again" : "Restart");
  find("reopen").classList.toggle("main", ended !== null);
  find("record").hidden = find("recordings").hidden = !state.can_record;
  find("record").setAttribute("aria-pressed", recording !== null);
  text("record", recording ? "Stop recording" : "Record boxes");
  text("recording", recording ? `${recording.name}: ${recording.frames} frames` : state.recorded.length ? "" : "None yet.");
  showFiles(find("files"), state.recorded, download);
  const total = frames === null ? "" : ` of ${frames}`;
  text("position", frame ? `${live ? "live · " : ""}frame ${frame.number + 1}${total} · ${frame.width} × ${frame.height}` : "");
  hint();
}

function hint() {
  const draw = touch ? "Tap Add target and drag a box" : "Drag a box";
  if (stage.draft) {
    text("hint", touch ? "Drag a box on the picture."
      : "Drag a box on the picture. Or move this one with the arrow keys, resize it with Shift and the arrows; "
        + "Enter tracks it, Escape leaves it.");
  } else if (selected !== null) {
    text("hint", touch ? `Move begins target ${selected} anew in another box.`
      : `Drag the box of target ${selected} to begin it anew elsewhere; drag beside it to add another.`);
  } else if (state.targets.length > 0) {
    text("hint", `${touch ? "Tap" : "Click"} a box to select it. ${draw} to add a target.`);
  } else {
    const then = state.choosing ? ", then start tracking" : state.live || state.playing ? "" : ", then press Play";
    text("hint", `${draw} around ${state.choosing ? "each" : "a"} target${then}.`);
  }
}

function showFigures() {
  const stages = Object.entries(state.stages_ms).filter(([name]) => name !== "encode");
  text("fps", state.fps?.toFixed(1) ?? "–");
  text("latency", stages.length ? stages.reduce((sum, [, ms]) => sum + ms, 0).toFixed(2) : "–");
  for (const name of ["dropped", "skipped", "reconnects"]) {
    text(name, state[name]);
    find(name).parentElement.hidden = !(state[name] || (name === "dropped" && state.live));
  }
}

function showMap(response) {
  const { target, ...rest } = showResponse(find("map"), response);
  text("map-target", target);
  for (const [name, value] of Object.entries(rest)) text(`map-${name}`, value);
  find("map").setAttribute("aria-label", `Response map of target ${target}: peak ${rest.peak}`);
}

async function download(name) {
  try {
    const url = URL.createObjectURL(await link.file(name));
    const anchor = Object.assign(document.createElement("a"), { href: url, download: name });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    problem(error.message);
  }
}

async function place({ target, box: [x, y, w, h] }) {
  const answer = await order(target === null ? "add" : "restart", target === null ? { box: [x, y, w, h] } : { target, box: [x, y, w, h] });
  if (!answer) return;
  say(target === null ? `Target ${answer.target} was added.` : `Target ${target} begins anew.`);
  select(answer.target);
}

async function drop(target) {
  if (await order("drop", { target })) say(`Target ${target} was dropped.`);
}

stage.addEventListener("draw", ({ detail }) => place(detail));
stage.addEventListener("select", ({ detail }) => select(detail.target));
stage.addEventListener("change", ({ detail: draft }) => {
  find("draft").hidden = !draft || stage.press !== null;
  find("add").setAttribute("aria-pressed", Boolean(draft));
  if (draft) {
    const form = find("draft").elements;
    ["x", "y", "w", "h"].forEach((name, axis) => {
      if (document.activeElement !== form[name]) form[name].value = Math.round(10 * draft.box[axis]) / 10;
    });
    text("draft-title", draft.target === null ? "New target" : `Target ${draft.target}`);
  }
  if (state) hint();
});
targets.addEventListener("select", ({ detail }) => select(detail.target === selected ? null : detail.target));
targets.addEventListener("move", ({ detail }) => { select(detail.target); stage.begin(detail.target); stage.root.focus(); });
targets.addEventListener("drop", ({ detail }) => drop(detail.target));
targets.addEventListener("status", ({ detail: { target, status } }) => {
  say(`Target ${target} is ${{ TRACKING: "tracked again", UNCERTAIN: "uncertain", LOST: "lost" }[status]}.`);
});

find("draft").addEventListener("submit", event => { event.preventDefault(); stage.finish(); });
find("draft").addEventListener("input", () => {
  const form = find("draft").elements;
  const box = ["x", "y", "w", "h"].map(name => form[name].valueAsNumber);
  if (box.every(Number.isFinite)) stage.change({ ...stage.draft, box });
});
find("cancel").addEventListener("click", () => { stage.cancel(); find("add").focus(); });
find("add").addEventListener("click", () => {
  if (stage.draft) return stage.cancel();
  stage.begin(null);
  stage.root.focus();
});
find("play").addEventListener("click", () => order(state.playing ? "pause" : "play"));
find("step").addEventListener("click", () => order("step"));
find("reopen").addEventListener("click", () => order("reopen"));
find("record").addEventListener("click", () => order(state.recording ? "stop" : "record"));
find("done").addEventListener("click", async () => {
  if (!await order("done")) return;
  link.over = true;
  say("Tracking goes on where the console was started; this page can be closed.");
});
find("response-on").addEventListener("change", () => select(selected));
document.addEventListener("keydown", event => {
  if (event.key === "Escape" && stage.draft) return stage.cancel();
  if (document.activeElement !== stage.root || !state) return;
  if (stage.key(event)) return event.preventDefault();
  const shortcuts = { " ": "play", ".": "step" };
  if (shortcuts[event.key] && !find("file-tools").hidden) find(shortcuts[event.key]).click();
  else if (event.key === "Delete" && selected !== null) drop(selected);
  else return;
  event.preventDefault();
});
