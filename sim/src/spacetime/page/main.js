// Puts it together: filters, zoom, steps, pointer and keys.
const byId = (id) => document.getElementById(id);
let wanted = false;
const paint = () => {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; draw(); drawMap(); placeLanes(); tellSlider(); });
};

// Lays everything out anew; what was at this height of the screen stays there.
const relayout = (anchor, height) => {
  const stay = anchor !== undefined && layout.place[anchor] >= 0 ? anchor : nearest(scroll.scrollTop + scroll.clientHeight / 3);
  const offset = height !== undefined ? height : stay >= 0 ? layout.y[stay] - scroll.scrollTop : 0;
  arrange(scroll.clientWidth);
  whole = null;
  const tall = byId('tall');
  tall.style.height = Math.max(layout.height, scroll.clientHeight) + 'px';
  tall.style.width = layout.width + 'px';
  if (stay >= 0) {
    const now = layout.place[stay] >= 0 ? stay : layout.shown[Math.min(layout.shown.length - 1, lowerBound(stay))];
    if (now !== undefined) scroll.scrollTop = layout.y[now] - offset;
  }
  byId('empty').hidden = layout.shown.length > 0;
  byId('count').textContent = `${layout.shown.length.toLocaleString('en')} of ${events.length.toLocaleString('en')} events`;
  byId('zoom').textContent = `${Math.round(state.zoom * 100)} %`;
  paint();
};
// Where among the shown ones an event would stand.
const lowerBound = (index) => {
  let low = 0, high = layout.shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (layout.shown[middle] < index) low = middle + 1; else high = middle;
  }
  return low;
};
const nearest = (height) => {
  if (!layout.shown.length) return -1;
  return layout.shown[Math.min(layout.shown.length - 1, firstAt(height))];
};
const filter = () => { relayout(state.current >= 0 ? state.current : undefined); tellMarks(); tellCurrent(); markCurrent(); };

const select = (index) => {
  state.current = index;
  if (index >= 0 && layout.place[index] >= 0) {
    const y = layout.y[index], top = scroll.scrollTop, height = scroll.clientHeight;
    if (y < top + 60 || y > top + height - 90) scroll.scrollTop = y - height * 0.38;
    const x = layout.x.get(laneOf(events[index]));
    if (x < scroll.scrollLeft + 60 || x > scroll.scrollLeft + scroll.clientWidth - 60) scroll.scrollLeft = x - scroll.clientWidth / 2;
    // A page within a page may not do this, and need not.
    try { history.replaceState(null, '', '#event=' + index); } catch { /* no address to keep */ }
  }
  tellCurrent();
  markCurrent();
  paint();
};
// So many of the shown events on; from what is in sight, if none is current.
const go = (steps) => {
  const { shown, place } = layout;
  if (!shown.length) return;
  const here = state.current < 0 ? -1 : place[state.current] >= 0 ? place[state.current] : lowerBound(state.current) - (steps > 0 ? 1 : 0);
  const start = state.current < 0 ? firstAt(scroll.scrollTop) - (steps > 0 ? 1 : 0) : here;
  select(shown[Math.max(0, Math.min(shown.length - 1, start + steps))]);
};
const goTrouble = (forward) => {
  const { shown } = layout;
  const here = state.current < 0 ? (forward ? -1 : shown.length) : lowerBound(state.current);
  const next = forward ? shown.slice(here < 0 ? 0 : here).find((index) => isTrouble(events[index]) && index > state.current)
    : shown.slice(0, here).reverse().find((index) => isTrouble(events[index]));
  if (next !== undefined) select(next);
};

let playing = 0;
const play = (on) => {
  clearInterval(playing);
  playing = on ? setInterval(() => {
    if (layout.place[state.current] >= layout.shown.length - 1) play(false); else go(1);
  }, 350) : 0;
  byId('play').textContent = playing ? '❚❚ pause' : '▶ play';
};

const zoomTo = (zoom, height) => {
  const at = height === undefined ? scroll.clientHeight / 3 : height;
  const anchor = height === undefined && state.current >= 0 && layout.place[state.current] >= 0 &&
    Math.abs(layout.y[state.current] - scroll.scrollTop - at) < scroll.clientHeight ? state.current : nearest(scroll.scrollTop + at);
  const offset = anchor >= 0 ? layout.y[anchor] - scroll.scrollTop : 0;
  state.zoom = Math.max(0.05, Math.min(40, zoom));
  relayout(anchor, offset);
};

const chip = (text, title, colour, on, toggle) => {
  const button = element('button', [...(colour ? [element('i')] : []), text], { class: 'chip', 'aria-pressed': on, title });
  if (colour) button.style.setProperty('--c', `var(${colour})`);
  button.onclick = () => {
    const pressed = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', pressed);
    toggle(pressed);
    filter();
  };
  return button;
};
const inOut = (set, key) => (shown) => (shown ? set.delete(key) : set.add(key));

const placeLanes = () => {
  for (const button of byId('lanes').children) {
    button.style.left = layout.x.get(Number(button.dataset.lane)) - scroll.scrollLeft + 'px';
    const hidden = state.hiddenLanes.has(Number(button.dataset.lane));
    button.style.maxWidth = (hidden ? 44 : Math.max(60, layout.room - 8)) + 'px';
  }
};
const makeLanes = () => {
  for (const lane of layout.lanes) {
    const name = lane === WORLD ? 'faults' : lanes[lane].name;
    const about = lane === WORLD ? 'What was done to the world' : `${lanes[lane].role} ${name}${lanes[lane].instances.length ? ', instance ' + lanes[lane].instances.join(', then ') : ''}; press to hide or show`;
    const button = element('button', name, { 'aria-pressed': 'true', 'data-lane': lane, title: about });
    if (lane === WORLD) button.className = 'world';
    button.onclick = () => {
      const pressed = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', pressed);
      inOut(state.hiddenLanes, lane)(pressed);
      filter();
    };
    byId('lanes').append(button);
  }
};

// What is under the pointer: an event before an arrow, the nearest first.
const hitAt = (x, y) => {
  let best = null, least = 8;
  for (const hit of hits) {
    const dot = hit.arrow === undefined;
    const [dx, dy] = [hit.x2 - hit.x1, hit.y2 - hit.y1];
    const long = dx * dx + dy * dy;
    const part = long ? Math.max(0, Math.min(1, ((x - hit.x1) * dx + (y - hit.y1) * dy) / long)) : 0;
    const away = Math.hypot(x - hit.x1 - part * dx, y - hit.y1 - part * dy) - (dot ? 3 : 0);
    if (away < least) { least = away; best = hit; }
  }
  return best;
};
const pointerAt = (event) => {
  const box = view.getBoundingClientRect();
  return hitAt(event.clientX - box.left + scroll.scrollLeft, event.clientY - box.top + scroll.scrollTop);
};

const slider = byId('slider');
const tellSlider = () => {
  const index = nearest(scroll.scrollTop + 30);
  slider.setAttribute('aria-valuemax', events.length ? seconds(events[events.length - 1].t, 3) : 0);
  slider.setAttribute('aria-valuenow', index >= 0 ? seconds(events[index].t, 3) : 0);
  slider.setAttribute('aria-valuetext', index >= 0 ? `${seconds(events[index].t, 3)} seconds` : 'nothing');
};
const slideTo = (event) => {
  const box = slider.getBoundingClientRect();
  scroll.scrollTop = ((event.clientY - box.top) / box.height) * layout.height - scroll.clientHeight / 2;
};

const KEYS = [
  ['→ or l', 'next event'], ['← or h', 'previous event'], ['space', 'play, pause'], ['Home, End', 'first, last event'],
  ['↑ ↓, PgUp, PgDn', 'move through time'], ['f, F', 'next, previous trouble'], ['o', 'the other end of this message'],
  ['+ − 0', 'zoom; also Ctrl and the wheel, or two fingers'], ['t', 'time: squeezed, equal steps, true to scale'],
  ['e', 'only faults and notices'], ['/', 'search'], ['Esc', 'forget the current event; leave the search'], ['?', 'these keys'],
];
const onKey = (event) => {
  const typing = event.target.matches('input, select, textarea');
  if (typing) {
    if (event.key === 'Escape') { event.target.value = ''; event.target.dispatchEvent(new Event('input')); event.target.blur(); }
    if (event.key === 'Enter') { event.target.blur(); go(1); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
  if (event.key === ' ' && event.target.matches('button')) return;
  if (event.target === slider && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
    scroll.scrollTop += event.key === 'ArrowDown' ? 60 : -60;
    event.preventDefault();
    return;
  }
  const other = () => {
    const arrow = state.current >= 0 && arrows[events[state.current].a];
    const there = arrow && (arrow.a === state.current ? arrow.b : arrow.a);
    if (there !== null && there !== undefined && layout.place[there] >= 0) select(there);
  };
  const actions = {
    ArrowRight: () => go(1), l: () => go(1), ArrowLeft: () => go(-1), h: () => go(-1), ' ': () => play(!playing),
    Home: () => layout.shown.length && select(layout.shown[0]), End: () => layout.shown.length && select(layout.shown[layout.shown.length - 1]),
    ArrowDown: () => { scroll.scrollTop += 60; }, ArrowUp: () => { scroll.scrollTop -= 60; },
    PageDown: () => { scroll.scrollTop += scroll.clientHeight * 0.85; }, PageUp: () => { scroll.scrollTop -= scroll.clientHeight * 0.85; },
    f: () => goTrouble(true), F: () => goTrouble(false), o: other,
    '+': () => zoomTo(state.zoom * 1.3), '=': () => zoomTo(state.zoom * 1.3), '-': () => zoomTo(state.zoom / 1.3), 0: () => zoomTo(1),
    t: () => { const all = ['squeezed', 'even', 'true']; setScale(all[(all.indexOf(state.scale) + 1) % 3]); },
    e: () => byId('only').click(), '/': () => byId('search').focus(), '?': () => byId('help').showModal(),
    Escape: () => { play(false); select(-1); },
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.key !== ' ') play(false);
  action();
};
const setScale = (scale) => { state.scale = scale; byId('scale').value = scale; relayout(state.current >= 0 ? state.current : undefined); };
// Strokes on another canvas.
const drawWith = (other, body) => { pen = other; try { body(); } finally { pen = main; } };

const begin = () => {
  readColours();
  arrange(scroll.clientWidth);
  makeLanes();
  kinds.forEach((kind) => byId('kinds').append(chip(kind, `messages on ${kind} connections`, colourName(kind), true, inOut(state.hiddenKinds, kind))));
  const quiet = new Set(['timers', 'links']);
  SORTS.filter(([sort]) => events.some((event) => sortOf(event) === sort)).forEach(([sort, about]) => {
    if (quiet.has(sort)) state.hiddenSorts.add(sort);
    byId('sorts').append(chip(sort, about, '', !quiet.has(sort), inOut(state.hiddenSorts, sort)));
  });
  byId('keytable').append(...KEYS.map(([key, what]) => element('tr', [element('td', element('kbd', key)), element('td', what)])));
  tellFacts();
  byId('only').onclick = (event) => { state.only = !state.only; event.currentTarget.setAttribute('aria-pressed', state.only); filter(); };
  let typing = 0;
  byId('search').oninput = (event) => {
    clearTimeout(typing);
    const text = event.target.value.trim().toLowerCase();
    typing = setTimeout(() => { state.text = text; filter(); }, 120);
  };
  byId('scale').onchange = (event) => setScale(event.target.value);
  byId('in').onclick = () => zoomTo(state.zoom * 1.3);
  byId('out').onclick = () => zoomTo(state.zoom / 1.3);
  byId('zoom').onclick = () => zoomTo(1);
  byId('next').onclick = () => go(1);
  byId('back').onclick = () => go(-1);
  byId('play').onclick = () => play(!playing);
  byId('trouble').onclick = () => goTrouble(true);
  byId('keys').onclick = () => byId('help').showModal();
  addEventListener('keydown', onKey);
  scroll.addEventListener('scroll', () => { tip.hidden = true; paint(); }, { passive: true });
  addEventListener('resize', () => relayout());
  scroll.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(state.zoom * Math.exp(-event.deltaY / 300), event.clientY - view.getBoundingClientRect().top);
  }, { passive: false });
  pinch();
  view.addEventListener('pointermove', (event) => {
    if (event.pointerType === 'touch') return;
    const hit = pointerAt(event);
    view.style.cursor = hit ? 'pointer' : '';
    showTip(hit, event.clientX, event.clientY);
  });
  view.addEventListener('pointerleave', () => showTip(null));
  view.addEventListener('click', (event) => { const hit = pointerAt(event); if (hit) select(hit.event); });
  slider.addEventListener('pointerdown', (event) => { slider.setPointerCapture(event.pointerId); slideTo(event); });
  slider.addEventListener('pointermove', (event) => { if (slider.hasPointerCapture(event.pointerId)) slideTo(event); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); whole = null; tellLegend(); paint(); });
  relayout();
  // A short story fills the screen.
  if (layout.height < scroll.clientHeight) zoomTo(Math.min(2, (scroll.clientHeight - 90) / (layout.height - 90)));
  tellLegend();
  tellMarks();
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has('scale')) setScale(asked.get('scale'));
  if (asked.has('zoom')) zoomTo(Number(asked.get('zoom')) || 1);
  const failure = events.findIndex((event) => event.c === 'failure');
  select(asked.has('event') ? Math.min(events.length - 1, Number(asked.get('event')) || 0) : failure);
};

const pinch = () => {
  const fingers = new Map();
  let apart = 0, zoom = 1;
  const gap = () => { const [one, two] = [...fingers.values()]; return Math.hypot(one[0] - two[0], one[1] - two[1]); };
  scroll.addEventListener('touchstart', (event) => {
    fingers.clear();
    for (const touch of event.touches) fingers.set(touch.identifier, [touch.clientX, touch.clientY]);
    if (fingers.size === 2) { apart = gap(); zoom = state.zoom; }
  }, { passive: true });
  scroll.addEventListener('touchmove', (event) => {
    if (event.touches.length !== 2) return;
    event.preventDefault();
    for (const touch of event.touches) fingers.set(touch.identifier, [touch.clientX, touch.clientY]);
    const middle = (event.touches[0].clientY + event.touches[1].clientY) / 2;
    zoomTo(zoom * gap() / Math.max(1, apart), middle - view.getBoundingClientRect().top);
  }, { passive: false });
};

// For whoever measures: how long pictures take, over the whole height.
window.spacetime = {
  state, layout, story, select, relayout, setScale, zoomTo,
  measure(count = 200) {
    const times = [];
    for (let at = 0; at < count; at++) {
      scroll.scrollTop = (layout.height - scroll.clientHeight) * at / Math.max(1, count - 1);
      const start = performance.now();
      draw();
      drawMap();
      // The strokes are done when the pixels can be read.
      pen.getImageData(0, 0, 1, 1);
      times.push(performance.now() - start);
    }
    times.sort((one, other) => one - other);
    return { frames: count, median: times[count >> 1], p99: times[Math.floor(count * 0.99)], worst: times[count - 1] };
  },
};
begin();
