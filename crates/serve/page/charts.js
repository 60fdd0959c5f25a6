// Timeline and load.
const SPARK_S = 300;
const spark = [];
let spanMs = 60000, turnsDirty = true, lastTurns = 0;
document.querySelectorAll('input[name=span]').forEach(e => e.addEventListener('change', () => {
  spanMs = e.value * 1000;
  turnsDirty = true;
}));

const clockText = ms => {
  const s = Math.max(0, Math.floor(ms / 1000)), two = n => String(n).padStart(2, '0');
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
};

// Stretches of the turns within a span of time: [{row, from, to}], row being an id, 'off-screen' or 'ambiguous'.
function stretches(from, to) {
  const out = [];
  state.turns.forEach((t, i) => {
    const a = Math.max(t.t_ms, from), b = Math.min(i + 1 < state.turns.length ? state.turns[i + 1].t_ms : to, to);
    if (b <= a) return;
    t.ids.forEach(id => out.push({ row: id, from: a, to: b }));
    if (!t.ids.length && (t.voice === 'off-screen' || t.voice === 'ambiguous')) out.push({ row: t.voice, from: a, to: b });
  });
  return out;
}

// Canvas text grows with the page's.
const unit = k => Math.max(1, parseFloat(getComputedStyle(document.documentElement).fontSize) / 16) * k;

const MAX_ROWS = 6;
function rowsOf(list) {
  const total = new Map();
  list.forEach(s => total.set(s.row, (total.get(s.row) || 0) + s.to - s.from));
  const ids = [...total.keys()].filter(r => typeof r === 'number').sort((a, b) => total.get(b) - total.get(a));
  const kept = ids.slice(0, MAX_ROWS).sort((a, b) => a - b);
  return { rows: [...kept, 'off-screen', 'ambiguous'], total, more: ids.length - kept.length };
}
const rowName = r => typeof r === 'number' ? `Speaker ${r}` : r === 'off-screen' ? 'Off screen' : 'Can’t tell';

function paintTurns() {
  const c = $('turns'), k = fit(c), p = c.getContext('2d'), W = c.width, H = c.height;
  const to = state.frame ? state.frame.t_ms + 40 : 0, from = to - spanMs;
  const list = stretches(from, to), { rows, total, more } = rowsOf(list);
  const u = unit(k);
  const left = 108 * u, foot = 22 * u, rh = Math.min((H - foot) / rows.length, 58 * u);
  p.clearRect(0, 0, W, H);
  p.font = `${13.5 * u}px system-ui, "DejaVu Sans", sans-serif`;
  p.textBaseline = 'middle';
  const x = t => left + (t - from) / spanMs * (W - left);
  const step = spanMs / 6;
  for (let t = Math.ceil(Math.max(from, 0) / step) * step; t <= to; t += step) {
    p.fillStyle = '#262e37';
    p.fillRect(Math.round(x(t)), 0, Math.max(1, k), rh * rows.length);
    p.fillStyle = '#9fadba';
    const text = clockText(t), w = p.measureText(text).width;
    if (x(t) - w / 2 > left - 8 * u) p.fillText(text, Math.min(x(t) - w / 2, W - w), rh * rows.length + foot / 2);
  }
  const speaking = new Set(state.turns.length ? state.turns.at(-1).ids : []);
  rows.forEach((r, i) => {
    const y = i * rh, pad = Math.min(rh * .18, 6 * u);
    p.fillStyle = '#1b222a';
    p.fillRect(left, y + pad, W - left, rh - 2 * pad);
    p.fillStyle = speaking.has(r) ? '#eef3f7' : '#9fadba';
    p.fillText(rowName(r), 0, y + rh / 2);
    p.fillStyle = typeof r === 'number' ? colourOf(r) : r === 'off-screen' ? '#f0b849' : '#7d8894';
    list.filter(s => s.row === r).forEach(s => {
      // Whole pixels: stretches that touch leave no seam.
      const x0 = Math.floor(x(s.from)), w = Math.max(Math.ceil(x(s.to)) - x0, Math.ceil(1.5 * k));
      // What is no person in the picture is striped: not told by colour alone.
      if (typeof r === 'number') p.fillRect(x0, y + pad, w, rh - 2 * pad);
      else for (let g = 0; g < w; g += 6 * u) p.fillRect(x0 + g, y + pad, Math.min(3 * u, w - g), rh - 2 * pad);
    });
  });
  const share = [...total].filter(([r]) => rows.includes(r))
    .map(([r, ms]) => `${rowName(r)} ${Math.round(ms / 1000)} seconds`).join(', ');
  const others = more > 0 ? `, and ${more} more` : '';
  c.setAttribute('aria-label', `The last ${spanMs / 60000} minutes: ${share || 'nobody has spoken'}${others}`);
}

function listTurns() {
  const now = state.frame ? state.frame.t_ms : 0;
  const list = stretches(now - 600000, now).reduce((all, s) => {
    const last = all.findLast(l => l.row === s.row);
    if (last && s.from - last.to < 1000) last.to = s.to; else all.push({ ...s });
    return all;
  }, []).filter(s => s.to - s.from >= 500).slice(-30).reverse();
  $('turn-list').replaceChildren(...list.map(s => {
    const li = document.createElement('li');
    li.textContent = `${rowName(s.row)}, ${clockText(s.from)} to ${clockText(s.to)}`;
    return li;
  }));
}

function paintSpark() {
  const c = $('spark'), k = fit(c), p = c.getContext('2d'), W = c.width, H = c.height;
  p.clearRect(0, 0, W, H);
  // Full height is the limit of real time, or what there is of load beyond it.
  const top = Math.max(1, ...spark), y = v => H - 2 * k - v / top * (H - 4 * k);
  p.fillStyle = '#56616d';
  for (let x = 0; x < W; x += 8 * k) p.fillRect(x, y(1), 4 * k, Math.max(1, k));
  p.fillStyle = '#9fadba';
  p.font = `${12 * unit(k)}px system-ui, "DejaVu Sans", sans-serif`;
  p.textBaseline = 'top';
  p.fillText('100 % load, 5 min', 0, y(1) + 3 * k);
  p.strokeStyle = '#5ab4ff';
  p.lineWidth = 2 * k;
  p.lineJoin = 'round';
  p.beginPath();
  spark.forEach((v, i) => p.lineTo(W - (spark.length - 1 - i) / (SPARK_S - 1) * W, y(v)));
  p.stroke();
  c.setAttribute('aria-label', `Load of the last ${spark.length} seconds: highest ${Math.round(Math.max(0, ...spark) * 100)} %`);
}

on('vitals', v => {
  spark.push(v.load);
  if (spark.length > SPARK_S) spark.shift();
  paintSpark();
  if (document.querySelector('details').open) listTurns();
});
document.querySelector('details').addEventListener('toggle', listTurns);
on('frame', () => turnsDirty = true);
on('history', () => turnsDirty = true);

function chartLoop(now) {
  // Who wants no motion gets a still picture a second.
  if (turnsDirty && now - lastTurns > (calm.matches ? 1000 : 90)) {
    turnsDirty = false;
    lastTurns = now;
    paintTurns();
  }
  requestAnimationFrame(chartLoop);
}
addEventListener('resize', () => { turnsDirty = true; paintSpark(); });
requestAnimationFrame(chartLoop);
