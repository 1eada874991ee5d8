// Copyright 2026 stmask_ros developers
// SPDX-License-Identifier: Apache-2.0

// The labels are the server's: each action is sent, saved there, and shown as it was saved.
'use strict';

const SVG = 'http://www.w3.org/2000/svg';
const DRAG = 6;  // pixels of the screen that make a box of a click
const LOOK = 250;  // milliseconds after which masks that are on their way are looked for again
const view = (id) => document.getElementById(id);

let labels = { pictures: [], classes: [], tracks: [] };
let here = 0;
let chosen = null;  // id of the track that clicks correct; null for a new one
let zoom = 1;
let start = null;  // where the button went down, as a fraction of the picture
let waiting = Promise.resolve();
let look = null;  // timer

function colourOf(track) {
  return `hsl(${(track * 0.618033988749895 % 1) * 360} 75% 60%)`;
}

function say(text) {
  view('message').textContent = text;
}

function beBusy() {
  document.body.classList.add('busy');
  say('');
}

function complain(error) {
  say(error instanceof TypeError
    ? 'the program does not answer: start stmask label again and open its address. '
      + 'What was saved is saved.' : error.message);
}

async function answered(request) {
  const response = await request;
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

// One after the other, so that a second click corrects what the first one found. A wish is of the
// picture that is shown when it is made; a function of one is asked when its turn comes.
function act(wish) {
  const picture = here;
  beBusy();
  waiting = waiting.then(async () => {
    beBusy();  // again, after the one before
    try {
      const full = typeof wish === 'function' ? wish() : wish;
      const content = await answered(fetch('do', {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ picture, ...full }),
      }));
      labels = content.labels;
      say('saved');
      if (content.track !== undefined) chosen = content.track;
      await show(content.picture ?? here);
      return true;
    } catch (error) {
      complain(error);
      return false;
    } finally {
      document.body.classList.remove('busy');
    }
  });
  return waiting;
}

async function show(number) {
  const picture = labels.pictures[number];
  const image = view('picture');
  if (number !== here || !image.src) {
    here = number;
    view('masks').replaceChildren();
    delete view('masks').dataset.picture;
    image.src = `picture/${number}`;
    history.replaceState(null, '', `#${number + 1}`);
  }
  view('masks').setAttribute('viewBox', `0 0 ${picture.width} ${picture.height}`);
  fit();
  const masks = await answered(fetch(`masks/${number}`));
  if (number === here) draw(masks);
}

// Masks are carried on while people go on: what has come to this picture since is shown.
function lookAgain() {
  if (look || !labels.tracks.some((track) => track.coming.length)) return;
  look = setTimeout(() => {
    look = null;
    waiting = waiting.then(async () => {
      const before = seenHere();
      labels = await answered(fetch('labels'));
      if (labels.trouble) say(labels.trouble);
      if (seenHere() !== before) await show(here);
      lookAgain();
    }).catch(complain);
  }, LOOK);
}

function seenHere() {
  return JSON.stringify(labels.tracks.map(
    (track) => [track.id, track.pictures.includes(here), track.coming.includes(here)]));
}

function fit() {
  const { width, height } = labels.pictures[here];
  const room = view('view');
  const scale = Math.min(room.clientWidth / width, room.clientHeight / height) * zoom;
  view('stage').style.width = `${width * scale}px`;
  view('stage').style.height = `${height * scale}px`;
}

function draw(masks) {
  view('masks').replaceChildren(...masks.map(({ track, carried, polygons }) => {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', polygons.map((points) => `M${points.join('L')}Z`).join(''));
    path.style.fill = path.style.stroke = colourOf(track);
    path.classList.toggle('chosen', track === chosen);
    path.classList.toggle('carried', carried);
    path.dataset.track = track;
    return path;
  }));
  view('masks').dataset.picture = here;
  list();
  lookAgain();
}

function list() {
  const picture = labels.pictures[here];
  const tracks = labels.tracks.filter((track) => track.video === picture.video);
  if (!tracks.some((track) => track.id === chosen)) chosen = null;
  view('where').textContent = `${here + 1} of ${labels.pictures.length}: ${picture.name} `
    + `(${picture.width}x${picture.height}) ${picture.reason}`;
  view('tracks').replaceChildren(...tracks.map((track, index) => {
    const row = document.createElement('li');
    const coming = track.coming.includes(here);
    row.textContent = `${index + 1}  ${track.class} #${track.id}`
      + (coming ? ' (on its way)' : track.pictures.includes(here) ? '' : ' (not here)');
    row.classList.toggle('coming', coming);
    row.style.borderColor = colourOf(track.id);
    row.classList.toggle('chosen', track.id === chosen);
    row.onclick = () => choose(track.id);
    return row;
  }));
  view('classes').replaceChildren(...labels.classes.map((name) => {
    const option = document.createElement('option');
    option.value = name;
    return option;
  }));
  view('pictures').replaceChildren(...labels.pictures.map((each, index) => {
    const button = document.createElement('button');
    button.textContent = index + 1;
    button.title = `${each.name} ${each.reason}`;
    button.className = `${each.labelled ? 'labelled' : ''} ${index === here ? 'here' : ''}`;
    button.onclick = () => go(index);
    return button;
  }));
}

function choose(track) {
  chosen = track;
  const found = labels.tracks.find((each) => each.id === track);
  if (found) view('class').value = found.class;
  say(found ? `clicks correct ${found.class} #${track}` : 'clicks begin a new thing');
  return show(here);
}

function go(number) {
  if (number < 0 || number >= labels.pictures.length) return;
  waiting = waiting.then(() => show(number)).catch(complain);
}

// Where an event is, as fractions of the picture.
function placeOf(event) {
  const box = view('picture').getBoundingClientRect();
  const fraction = (value) => Math.min(Math.max(value, 0), 0.999999);
  return {
    x: fraction((event.clientX - box.left) / box.width),
    y: fraction((event.clientY - box.top) / box.height),
    screenX: event.clientX, screenY: event.clientY,
  };
}

function spanOf(from, to) {
  const { width, height } = labels.pictures[here];
  return {
    left: Math.min(from.x, to.x) * width, top: Math.min(from.y, to.y) * height,
    right: Math.max(from.x, to.x) * width, bottom: Math.max(from.y, to.y) * height,
  };
}

function isBox(from, to) {
  return Math.hypot(to.screenX - from.screenX, to.screenY - from.screenY) > DRAG;
}

function drawDrag(to) {
  view('masks').querySelector('rect')?.remove();
  if (!isBox(start, to)) return;
  const { left, top, right, bottom } = spanOf(start, to);
  const rect = document.createElementNS(SVG, 'rect');
  const sides = { x: left, y: top, width: right - left, height: bottom - top };
  Object.entries(sides).forEach(([name, value]) => rect.setAttribute(name, value));
  view('masks').append(rect);
}

function release(event) {
  const from = start;
  const to = placeOf(event);
  start = null;
  view('masks').querySelector('rect')?.remove();
  if (isBox(from, to) && event.button === 0) {
    const box = spanOf(from, to);
    act(() => ({ action: 'box', track: chosen, class: view('class').value, ...box }));
    return;
  }
  const { width, height } = labels.pictures[here];
  const inside = event.button === 0 && !event.shiftKey;
  act(() => ({
    action: 'click', track: chosen, class: view('class').value, inside,
    x: to.x * width, y: to.y * height,
  }));
}

view('stage').addEventListener('pointerdown', (event) => {
  if (event.button === 1) return;
  event.preventDefault();
  document.activeElement.blur();
  view('stage').setPointerCapture(event.pointerId);
  start = placeOf(event);
});
view('stage').addEventListener('pointermove', (event) => { if (start) drawDrag(placeOf(event)); });
view('stage').addEventListener('pointerup', (event) => { if (start) release(event); });
view('stage').addEventListener('contextmenu', (event) => event.preventDefault());

view('view').addEventListener('wheel', (event) => {
  event.preventDefault();
  const place = placeOf(event);
  zoom = Math.min(Math.max(zoom * (event.deltaY < 0 ? 1.25 : 0.8), 1), 16);
  fit();
  const box = view('picture').getBoundingClientRect();
  view('view').scrollBy(
    box.left + place.x * box.width - event.clientX, box.top + place.y * box.height - event.clientY);
}, { passive: false });
window.addEventListener('resize', fit);

view('class').addEventListener('change', () => {
  const name = view('class').value.trim();
  if (chosen !== null && name) act({ action: 'rename', track: chosen, class: name });
});
view('class').addEventListener('keydown', (event) => {
  event.stopPropagation();
  if (event.key === 'Enter' || event.key === 'Escape') view('class').blur();
});

async function finish() {
  if (await act({ action: 'mark', labelled: true })) go(here + 1);
}

function withChosen(wish) {
  if (chosen === null) say('choose a thing first');
  else act(wish);
}

function carry() {
  withChosen(() => ({ action: 'carry', track: chosen, picture: here }));
}

function remove() {
  withChosen({ action: 'remove', track: chosen });
}

const KEYS = {
  n: () => choose(null), Escape: () => choose(null),
  c: carry, Delete: remove, Backspace: remove,
  u: () => act({ action: 'undo' }), Enter: finish,
  ArrowLeft: () => go(here - 1), ArrowRight: () => go(here + 1),
  h: () => view('masks').classList.toggle('hidden'),
  t: () => view('class').select(),
};
const BUTTONS = { new: 'n', carry: 'c', remove: 'Delete', undo: 'u', done: 'Enter' };
Object.entries(BUTTONS).forEach(([id, key]) => {
  view(id).onclick = (event) => { event.currentTarget.blur(); KEYS[key](); };
});

document.addEventListener('keydown', (event) => {
  if (event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey && key !== 'z') return;
  const row = view('tracks').children[Number(key) - 1];
  const run = event.ctrlKey ? KEYS.u : KEYS[key] ?? row?.onclick;
  if (!run) return;
  event.preventDefault();
  run(event);
});

answered(fetch('labels')).then((content) => {
  labels = content;
  const wanted = Number(location.hash.slice(1)) - 1;
  return show(labels.pictures[wanted] ? wanted : 0);
}).catch(complain);
