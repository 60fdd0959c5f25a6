// The picture with its objects. A picture waits until its own slot's objects have come: frames sit where they belong.
const canvas = $('picture'), pen = canvas.getContext('2d');
const HOLD_MS = 1500;
const COLOURS = ['#5ab4ff', '#ffb454', '#d2a8ff', '#7ee0c8', '#ff9bce', '#c3d94e', '#f4a58a', '#9fb8ff'];
const colourOf = id => COLOURS[(id - 1 + COLOURS.length) % COLOURS.length];
let waiting = [], shown = null, drawFrame = null, dirty = true;

if (view) {
  document.body.classList.add('view');
  if (view === 'overlay') [document.body, document.documentElement].forEach(e => e.classList.add('overlay'));
}

on('picture', async ({ t_ms, jpeg }) => {
  const image = await createImageBitmap(jpeg).catch(() => null);
  if (!image) return;
  waiting.push({ t_ms, image, at: performance.now() });
  while (waiting.length > 30) waiting.shift().image.close();
  match();
});
on('frame', () => match());
on('header', () => { waiting.forEach(w => w.image.close()); waiting = []; });

function match() {
  const now = performance.now(), newest = state.frame ? state.frame.t_ms : -Infinity;
  let next = null;
  // A picture without objects of its own (the analysis skipped it, or time jumped) is shown all the same, later.
  while (waiting.length && (waiting[0].t_ms <= newest || now - waiting[0].at > HOLD_MS)) {
    if (next) next.image.close();
    next = waiting.shift();
  }
  if (next) {
    if (shown) shown.image.close();
    shown = next;
    $('no-picture').hidden = true;
  }
  const t = shown ? shown.t_ms : newest;
  drawFrame = state.frames.reduce((a, f) => !a || Math.abs(f.t_ms - t) < Math.abs(a.t_ms - t) ? f : a, null);
  dirty = true;
}

// Canvases have the pixels of the screen.
function fit(c) {
  const k = devicePixelRatio || 1, w = Math.round(c.clientWidth * k), h = Math.round(c.clientHeight * k);
  if (c.width !== w || c.height !== h) { c.width = w; c.height = h; dirty = true; }
  return k;
}

function paint() {
  const k = fit(canvas);
  if (dirty) {
    dirty = false;
    const { width: W, height: H } = canvas;
    pen.clearRect(0, 0, W, H);
    const w = state.header ? state.header.width : 16, h = state.header ? state.header.height : 9;
    const s = Math.min(W / w, H / h), x0 = (W - s * w) / 2, y0 = (H - s * h) / 2;
    if (shown && view !== 'overlay') pen.drawImage(shown.image, x0, y0, s * w, s * h);
    else if (view !== 'overlay' && state.header) {
      pen.strokeStyle = '#3a4450';
      pen.strokeRect(x0 + .5, y0 + .5, s * w - 1, s * h - 1);
    }
    if (drawFrame && $('p-frames').checked) {
      const old = shown && Math.abs(drawFrame.t_ms - shown.t_ms) > 400;
      if (!old) drawFrame.objects.forEach(o => mark(o, x0, y0, s, k));
    }
  }
  requestAnimationFrame(paint);
}

function mark(o, x0, y0, s, k) {
  if (o.state === 'lost' || (o.state === 'tentative' && !o.speaking)) return;
  const u = Math.max(k, canvas.height / 640);
  const x = x0 + (o.x - o.w / 2) * s, y = y0 + (o.y - o.h / 2) * s, w = o.w * s, h = o.h * s;
  const box = (colour, width) => {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    pen.roundRect(x, y, w, h, 6 * u);
    pen.stroke();
  };
  // Dark below light: to be seen on any picture.
  box('rgba(0,0,0,.65)', (o.speaking ? 7 : 4) * u);
  box(o.speaking ? '#46d39a' : 'rgba(255,255,255,.75)', (o.speaking ? 4 : 1.5) * u);
  const text = o.speaking ? `${o.id}  ${Math.round(o.score * 100)} %` : `${o.id}`;
  pen.font = `600 ${(o.speaking ? 17 : 13) * u}px system-ui, "DejaVu Sans", sans-serif`;
  const tw = pen.measureText(text).width, icon = o.speaking ? 18 * u : 0, th = (o.speaking ? 25 : 19) * u;
  const bx = x, by = y - th - 4 * u < y0 ? y + 4 * u : y - th - 4 * u;
  pen.fillStyle = o.speaking ? '#46d39a' : 'rgba(0,0,0,.65)';
  pen.beginPath();
  pen.roundRect(bx, by, tw + icon + 16 * u, th, 5 * u);
  pen.fill();
  pen.fillStyle = pen.strokeStyle = o.speaking ? '#04150d' : '#fff';
  pen.textBaseline = 'middle';
  pen.fillText(text, bx + icon + 8 * u, by + th / 2 + u * .5);
  if (!o.speaking) return;
  // Sound waves: speaking is told by more than a colour.
  pen.lineWidth = 2 * u;
  [4, 9, 6].forEach((l, i) => {
    pen.beginPath();
    pen.moveTo(bx + (9 + i * 4.5) * u, by + th / 2 - l * u * .8);
    pen.lineTo(bx + (9 + i * 4.5) * u, by + th / 2 + l * u * .8);
    pen.stroke();
  });
}
$('p-frames').addEventListener('change', () => dirty = true);
addEventListener('resize', () => dirty = true);
requestAnimationFrame(paint);
