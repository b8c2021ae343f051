'use strict';
// The story as it lies in the page, what of it is shown, and where.
const story = JSON.parse(document.getElementById('data').textContent);
const { events, arrows, lanes } = story;
const WORLD = -1;
const laneOf = (event) => (event.l === undefined ? WORLD : event.l);
const laneName = (lane) => (lane === WORLD || lane === undefined ? 'the world' : lanes[lane].name);

const HANDSHAKE = new Set(['Hello', 'Welcome', 'Confirm', 'Refuse', 'Use', 'Using', 'dial']);
const KEEPALIVE = new Set(['Ping', 'Pong', 'Ack', 'Heartbeat', 'Renew', 'Renewed', 'OutputTaken', 'InputTaken']);
const SORTS = [
  ['handshakes', 'Hello, Welcome, Confirm, and dials: how links come to be'],
  ['signs of life', 'heartbeats, renewals, pings and acknowledgements'],
  ['links', 'what nodes are told of their links'],
  ['notices', 'what nodes tell their applications, and are asked by them'],
  ['timers', 'when a timer of a node was due'],
  ['disk and commands', 'files that are opened, commands that run'],
];
const sortOf = (event) => {
  const arrow = event.a === undefined ? null : arrows[event.a];
  if (arrow && arrow.n === 'dial') return 'handshakes';
  switch (event.c) {
    case 'sent': case 'got':
      return HANDSHAKE.has(arrow.n) ? 'handshakes' : KEEPALIVE.has(arrow.n) ? 'signs of life' : '';
    case 'link': return event.w > 1 ? '' : 'links';
    case 'notice': case 'command': return 'notices';
    case 'timer': return 'timers';
    case 'disk': case 'run': return 'disk and commands';
    default: return '';
  }
};
const isMessage = (event) => event.c === 'sent' || event.c === 'got';
const fateOf = (event) => (event.a === undefined ? '' : arrows[event.a].f);
const isTrouble = (event) => event.w > 1 && event.c !== 'got';
const kinds = [...new Set(arrows.map((arrow) => arrow.k).filter(Boolean))].sort();
const KNOWN = ['registration', 'task', 'file', 'query', 'probe', 'messages'];
const others = kinds.filter((kind) => !KNOWN.includes(kind));
const SPARE = ['other', 'messages', 'query', 'file', 'task', 'registration'];
const colourName = (kind) => {
  if (!kind) return '--k-probe';
  return '--k-' + (KNOWN.includes(kind) ? kind : SPARE[others.indexOf(kind) % SPARE.length]);
};

const state = {
  scale: 'squeezed', zoom: 1, current: -1, only: false, text: '',
  hiddenKinds: new Set(), hiddenSorts: new Set(), hiddenLanes: new Set(),
};

// Text that the search looks through, made once.
const haystack = events.map((event) => {
  const arrow = event.a === undefined ? null : arrows[event.a];
  const fields = arrow ? (arrow.m || []).map((pair) => pair.join(' ')).join(' ') + ' ' + (arrow.y || '') + ' ' + arrow.f : '';
  return `${event.n} ${event.s || ''} ${laneName(event.l)} ${event.k || ''} ${event.c} ${fields}`.toLowerCase();
});

const layout = {
  shown: [],                                // events that are shown, in order
  place: new Int32Array(events.length),     // where among them an event is, or -1
  y: new Float64Array(events.length),
  quiet: [],                                // [y, microseconds]: time in which nothing happens
  height: 0, lanes: [], x: [], width: 0, arrows: [], reach: [],
};

const isShown = (index) => {
  const event = events[index];
  if (state.hiddenLanes.has(laneOf(event))) return false;
  if (state.text && !haystack[index].includes(state.text)) return false;
  if (event.c === 'failure' || event.c === 'fault') return true;
  if (state.only) {
    return (event.w > 0 && event.c !== 'got' && event.c !== 'disk') || (isMessage(event) && fateOf(event) === 'damaged');
  }
  if (event.k && state.hiddenKinds.has(event.k)) return false;
  return !state.hiddenSorts.has(sortOf(event));
};

// How far an event stands below the one before it, at 100 %.
const step = (event, passed) => {
  const room = event.c === 'sent' || event.w > 0 || event.c === 'notice' || event.c === 'fault' ? 15 : event.c === 'got' ? 9 : 11;
  if (state.scale === 'even') return room + 5;
  const squeezed = 4 + 4.2 * Math.log10(1 + passed / 20);
  return Math.max(passed === 0 ? Math.min(room, 12) : room, squeezed);
};
const QUIET = 250000;

const TOP = 26, LEFT = 96;
const arrange = (width) => {
  const { place, y } = layout;
  const shown = [];
  for (let index = 0; index < events.length; index++) if (isShown(index)) shown.push(index);
  place.fill(-1);
  layout.quiet = [];
  let at = TOP;
  let before = shown.length ? events[shown[0]].t : 0;
  const first = before;
  const span = shown.length ? Math.max(1, events[shown[shown.length - 1]].t - first) : 1;
  // True to scale: the whole time in twelve heights of a screen, at 100 %; the browser's limit bounds the rest.
  const perMicro = Math.min(9000, 14e6 / state.zoom) / span;
  shown.forEach((index, position) => {
    const event = events[index];
    const passed = event.t - before;
    before = event.t;
    if (state.scale === 'true') {
      at = TOP + (event.t - first) * perMicro * state.zoom;
    } else if (position > 0) {
      let gap = step(event, passed) * state.zoom;
      if (passed > QUIET && state.scale === 'squeezed') {
        layout.quiet.push([at + gap / 2 + 11, passed]);
        gap += 22;
      }
      at += gap;
    }
    y[index] = at;
    place[index] = position;
  });
  layout.shown = shown;
  layout.height = at + 60;
  arrangeLanes(width);
  arrangeArrows();
};

const arrangeLanes = (width) => {
  const hasWorld = events.some((event) => event.l === undefined);
  const all = [...(hasWorld ? [WORLD] : []), ...lanes.keys()];
  layout.lanes = all;
  const wide = all.filter((lane) => !state.hiddenLanes.has(lane) && lane !== WORLD).length;
  const world = hasWorld ? 120 : 0;
  const room = Math.max(128, Math.min(460, (width - LEFT - world - 40) / Math.max(1, wide)));
  layout.x = new Map();
  let x = LEFT;
  for (const lane of all) {
    if (lane === WORLD) { layout.x.set(lane, x + 44); x += world; continue; }
    const hidden = state.hiddenLanes.has(lane);
    layout.x.set(lane, x + (hidden ? 22 : room / 2));
    x += hidden ? 44 : room;
  }
  layout.room = room;
  layout.width = Math.max(width, x + 20);
};

// An arrow from what is shown of it: an end that is filtered away is only pointed at.
const arrangeArrows = () => {
  const { place, y } = layout;
  const drawn = [];
  arrows.forEach((arrow, index) => {
    const from = arrow.a !== null && place[arrow.a] >= 0 ? arrow.a : -1;
    const to = arrow.b !== null && place[arrow.b] >= 0 ? arrow.b : -1;
    if (from < 0 && to < 0) return;
    const y1 = from >= 0 ? y[from] : y[to] - 12;
    const y2 = to >= 0 ? y[to] : from >= 0 ? y[from] + 13 : y1;
    drawn.push({ index, from, to, y1, y2, top: Math.min(y1, y2), bottom: Math.max(y1, y2) });
  });
  drawn.sort((one, other) => one.top - other.top);
  let reach = 0;
  layout.reach = drawn.map((arrow) => (reach = Math.max(reach, arrow.bottom)));
  layout.arrows = drawn;
};

// The first of the shown events that is not above.
const firstAt = (height) => {
  let low = 0, high = layout.shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (layout.y[layout.shown[middle]] < height) low = middle + 1; else high = middle;
  }
  return low;
};

const seconds = (micros, digits = 6) => (micros / 1e6).toFixed(digits);
const spanOf = (micros) =>
  micros < 1000 ? `${micros} µs` : micros < 1e6 ? `${(micros / 1e3).toFixed(micros < 1e4 ? 2 : 1)} ms` : `${(micros / 1e6).toFixed(2)} s`;
const clockOf = (micros) => {
  if (!story.wall) return `${seconds(micros)} s`;
  return `${seconds(micros)} s · ${new Date((story.wall + micros) / 1000).toISOString().slice(0, 23).replace('T', ' ')} UTC`;
};

// An event as sentences: a headline, what it is, and what is wrong about it.
const explain = (index) => {
  const event = events[index];
  const who = laneName(event.l);
  const arrow = event.a === undefined ? null : arrows[event.a];
  const lines = [];
  let title = event.n, wrong = '';
  const stop = (text) => (/[.!?…]$/.test(text) ? text : text + '.');
  if (arrow && (isMessage(event) || arrow.n === 'dial')) {
    const there = event.c === 'sent' || arrow.a === index ? arrow.b : arrow.a;
    const other = there !== null && there !== undefined ? laneName(events[there].l) : arrow.o !== undefined ? laneName(arrow.o) : arrow.p || 'somebody';
    const took = arrow.a !== null && arrow.b !== null ? spanOf(events[arrow.b].t - events[arrow.a].t) : '';
    if (arrow.n === 'dial') {
      title = `${who}: ${event.n}`;
      lines.push(stop(`${who} ${event.s}`));
      if (took && arrow.a === index) lines.push(`It is taken ${took} later.`);
    } else if (event.c === 'sent') {
      title = `${who} → ${other}: ${event.n}`;
      lines.push(stop(`${who} ${event.s}`));
      if (took) lines.push(`${other} has it ${took} later.`);
    } else {
      title = `${who} ← ${other}: ${event.n}`;
      lines.push(took ? `${who} has received it, ${took} after it was sent.` : `${who} has received it.`);
      lines.push(stop(`${other} ${event.s}`));
    }
    if (arrow.f !== 'arrived') wrong = `${FATES[arrow.f]}: ${stop(arrow.y)}`;
    if (arrow.f === 'arrived' && arrow.y) lines.push(stop(arrow.y));
  } else {
    title = event.l === undefined ? event.n : `${who}: ${event.n}`;
    if (event.c === 'fault') lines.push(`The simulator injects a fault here${event.s ? ': ' + event.s : ''}.`);
    if (event.s && event.c !== 'fault') lines.push(event.l === undefined ? stop(event.s) : event.c === 'failure' ? stop(event.s) : stop(`${who} ${event.s}`));
  }
  return { title, lines, wrong, mild: arrow !== null && (arrow.f === 'beyond' || arrow.f === 'open'), fields: arrow ? arrow.m || [] : [], arrow };
};
const FATES = {
  lost: 'Lost', cut: 'Cut off', damaged: 'Damaged', failed: 'No connection', open: 'Under way', beyond: 'Out of sight', stranger: 'From a stranger',
};
