// Words and figures: who speaks, offset, machine, settings.
const SCALE_MS = 250;
const say = (() => {
  // One thing at a time, at most every three seconds, and always the newest.
  let next = null, busy = false;
  const speak = () => {
    if (next === null) { busy = false; return; }
    busy = true;
    $('say').textContent = next;
    next = null;
    setTimeout(speak, 3000);
  };
  return text => { next = text; if (!busy) speak(); };
})();
const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

on('header', h => {
  set('source', `${h.source}  ·  ${h.width} × ${h.height}  ·  ${h.engine}`);
  document.title = `${h.source.split('/').pop()} – seehear`;
});
fetch('/health').then(r => r.json()).then(h => h.name && set('name', h.name)).catch(() => {});

let announced = '', announceTimer = 0;
function who({ voice, ids }) {
  const on = ids.length > 0;
  const text = on ? `${ids.length > 1 ? 'Speakers' : 'Speaker'} ${ids.join(', ')}`
    : { 'off-screen': 'Off screen', ambiguous: 'Can’t tell', none: 'Silence', 'on-screen': '–' }[voice];
  const el = $('who-text');
  set('who-text', text);
  el.dataset.voice = on ? 'on-screen' : voice;
  set('who-sub', on ? 'in the picture' : { 'off-screen': 'a voice that nobody in the picture makes',
    ambiguous: 'a voice, and not yet clear whose' }[voice] || '\u00a0');
  clearTimeout(announceTimer);
  // Pauses and flickers are not worth a word.
  if ((on || voice === 'off-screen') && text !== announced) announceTimer = setTimeout(() => {
    announced = text;
    if ($('p-announce').checked) say(on ? `${text} speaking` : 'Voice off screen');
  }, 1000);
}
on('speaking', who);
on('history', h => h.speaking.length && who(h.speaking.at(-1)));

const px = ms => 260 + Math.max(-SCALE_MS, Math.min(SCALE_MS, ms)) / SCALE_MS * 250;
(function drawScale() {
  const add = (name, attributes, text) => {
    const e = document.createElementNS($('scale').namespaceURI, name);
    Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
    if (text) e.textContent = text;
    $('scale').append(e);
    return e;
  };
  const bar = (kind, from, to, y, h) => add('rect', { class: kind, x: px(from), width: px(to) - px(from), y, height: h, rx: 3 });
  add('text', { x: 10, y: 14 }, '◀ sound early');
  add('text', { x: 510, y: 14, 'text-anchor': 'end' }, 'sound late ▶');
  bar('wide', -90, 185, 44, 20);
  bar('narrow', -45, 125, 44, 20);
  add('text', { x: 10, y: 59 }, 'BT.1359');
  bar('other', -40, 60, 72, 11);
  add('text', { x: 10, y: 83 }, 'EBU R37');
  bar('other', -15, 45, 91, 11);
  add('text', { x: 10, y: 102 }, 'IS-191');
  add('line', { class: 'axis', x1: 10, x2: 510, y1: 112, y2: 112 });
  [-200, -90, -45, 0, 45, 125, 185].forEach(ms => {
    add('line', { class: ms ? 'axis' : 'zero', x1: px(ms), x2: px(ms), y1: ms ? 112 : 40, y2: 118 });
    add('text', { x: px(ms), y: 134, 'text-anchor': 'middle' }, ms > 0 ? `+${ms}` : String(ms).replace('-', '−'));
  });
  add('text', { x: 510, y: 134, 'text-anchor': 'end' }, 'ms');
  add('text', { x: 10, y: 159 }, 'BT.1359: green not detectable, brown accepted');
  add('path', { class: 'input', id: 'needle-in', d: 'M-7 22 H7 L0 36 Z', visibility: 'hidden' });
  add('path', { class: 'needle', id: 'needle', d: 'M-11 18 H11 L2 40 V108 H-2 V40 Z', visibility: 'hidden' });
})();

const signed = ms => `${ms < -.5 ? '−' : ms > .5 ? '+' : ''}${Math.abs(Math.round(ms))} ms`;
const WORDS = { undetectable: 'not detectable', detectable: 'detectable', unacceptable: 'not acceptable', unsure: 'not sure yet' };
let lastBand = '';
on('offset', o => {
  const corrected = Math.abs(o.left_ms - o.offset_ms) >= .05 || (state.frame && state.frame.sync);
  const way = o.left_ms > .5 ? 'sound late' : o.left_ms < -.5 ? 'sound early' : 'in sync';
  set('offset-text', signed(o.left_ms));
  set('offset-word', `${way}, ${WORDS[o.bt1359]}`);
  $('offset-word').dataset.band = o.bt1359;
  set('offset-where', corrected ? 'of the output' : 'of the input');
  const s = state.frame && state.frame.sync;
  set('offset-sub', (corrected ? `input ${signed(o.offset_ms)}${s ? `, ${s.state}` : ''}  ·  ` : '') + `confidence ${Math.round(o.confidence * 100)} %`);
  const place = (id, ms, show) => {
    $(id).setAttribute('visibility', show ? 'visible' : 'hidden');
    $(id).style.transform = `translateX(${px(ms)}px)`;
  };
  place('needle', o.left_ms, true);
  place('needle-in', o.offset_ms, corrected);
  $('needle').style.opacity = o.bt1359 === 'unsure' ? .4 : 1;
  $('meter').setAttribute('aria-valuenow', Math.max(-SCALE_MS, Math.min(SCALE_MS, Math.round(o.left_ms))));
  $('meter').setAttribute('aria-valuetext', `${signed(o.left_ms)}, ${way}, ${WORDS[o.bt1359]} by BT.1359`);
  if (o.bt1359 !== lastBand && o.bt1359 !== 'unsure') {
    if (lastBand) say(`Offset ${signed(o.left_ms)}, ${way}: ${WORDS[o.bt1359]}`);
    lastBand = o.bt1359;
  }
});

on('vitals', v => {
  set('load', `${Math.round(v.load * 100)} %`);
  $('load').dataset.level = v.load > .95 ? 'bad' : v.load > .8 ? 'fair' : 'good';
  const { p50, p99 } = v.latency_ms;
  set('latency', p50 === null ? '–' : `${Math.round(p50)} / ${Math.round(p99)} ms`);
  set('fps', `${v.fps.toFixed(1)} /s`);
  const causes = Object.entries(v.drops).filter(([, n]) => n > 0);
  const sum = causes.reduce((a, [, n]) => a + n, 0);
  set('drops', String(sum));
  $('drops').dataset.level = sum ? 'fair' : 'good';
  set('drops-by', causes.map(([cause, n]) => `${cause.replaceAll('_', ' ')} ${n}`).join(', ') || '\u00a0');
  const h = v.health, b = $('banner'), text = [...h.reasons, ...h.warnings].join('  ·  ');
  b.hidden = !text;
  b.dataset.kind = h.reasons.length ? 'failing' : 'warning';
  if (b.textContent !== text) b.textContent = text;
});
on('frame', f => set('clock', clockText(f.t_ms)));

// Settings: shown as the program says they are, never as they were asked for.
const SYNC = { off: 'not measured', measure: 'measured', correct: 'corrected' };
on('settings', s => {
  const can = { threshold: s.threshold !== null, sync: s.sync !== null && s.sync_modes.length > 1,
    overlay: s.overlay !== null, heatmap: s.heatmap !== null, step_sync: s.step_sync };
  document.querySelectorAll('[data-of]').forEach(e => e.hidden = !can[e.dataset.of]);
  $('s-none').hidden = Object.values(can).some(Boolean);
  if (can.threshold) { $('s-threshold').value = Math.round(s.threshold * 100); threshold(); }
  $('s-sync').replaceChildren(...s.sync_modes.map(m => new Option(SYNC[m], m, false, m === s.sync)));
  $('s-overlay').checked = s.overlay;
  $('s-heatmap').checked = s.heatmap;
  told('');
});
function threshold() {
  const text = `${$('s-threshold').value} %`;
  $('s-threshold-out').textContent = text;
  $('s-threshold').setAttribute('aria-valuetext', text);
}
function told(text, kind = '') { $('s-told').dataset.kind = kind; set('s-told', text); }
async function change(what) {
  told('Asked for …');
  const answer = await fetch('/settings', { method: 'PATCH', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(what) }).catch(() => null);
  if (answer && answer.ok) { if ('step_sync' in what) told('The step was asked for.'); return; }
  const why = answer ? (await answer.json().catch(() => ({}))).error || answer.statusText : 'no connection';
  if (state.settings) tell('settings', state.settings);
  told(`Not changed: ${why}`, 'bad');
}
$('s-threshold').addEventListener('input', threshold);
$('s-threshold').addEventListener('change', e => change({ threshold: e.target.value / 100 }));
$('s-sync').addEventListener('change', e => change({ sync: e.target.value }));
$('s-overlay').addEventListener('change', e => change({ overlay: e.target.checked }));
$('s-heatmap').addEventListener('change', e => change({ heatmap: e.target.checked }));
$('s-step').addEventListener('click', () => change({ step_sync: true }));
$('form').addEventListener('submit', e => e.preventDefault());
$('p-full').addEventListener('click', () => $('stage').requestFullscreen().catch(() => {}));
connect();
