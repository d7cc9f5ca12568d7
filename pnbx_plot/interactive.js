// Redraws one raster of an interactive page for what its axes show now. The code of a Bokeh CustomJS; its arguments are
// the plot, the source of its picture and of its rings, the spikes by step (`starts`, `rows`, `signs`), the differences
// by step (`diff_steps`, `diff_rows`, `diff_other`), the toggle `pale` and numbers. The rules are those of grid.py.
const redraw = () => {
  plot.tags[0] = false
  const image = picture.data.image[0]  // RGBA, [HEIGHT * WIDTH], its first row at the bottom
  const [x0, x1, y0, y1] = [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end]
  const s0 = Math.max(0, Math.floor(x0 / unit - first + 0.5)), s1 = Math.min(num_steps, Math.ceil(x1 / unit - first + 0.5))
  const n0 = Math.max(0, Math.floor(y0 + 0.5)), n1 = Math.min(num_rows, Math.ceil(y1 + 0.5))
  const wide = Math.min(WIDTH, plot.inner_width || WIDTH), high = Math.min(HEIGHT, plot.inner_height || HEIGHT)
  const ks = Math.max(1, Math.ceil((s1 - s0) / wide)), kn = Math.max(1, Math.ceil((n1 - n0) / high))  // cells of a box
  const columns = Math.ceil((s1 - s0) / ks), lines = Math.ceil((n1 - n0) / kn)
  const count = new Uint32Array(columns * lines), negative = new Uint8Array(signs.length ? columns * lines : 0)
  for (let s = s0; s < s1; s++) {
    const column = Math.floor((s - s0) / ks)
    for (let i = starts[s]; i < starts[s + 1]; i++) {
      const row = rows[i]
      if (row >= n0 && row < n1) {
        const box = Math.floor((row - n0) / kn) * columns + column
        count[box]++
        if (signs.length && signs[i] < 0) negative[box] = 1
      }
    }
  }
  let marked = 0, total = 0
  for (let i = 0; i < count.length; i++) if (count[i] > 0) { marked++; total += count[i] }
  const part = marked / Math.max(1, columns * lines), cells = ks * kn
  const fullness = Math.min(1, Math.max(0, Math.log(Math.max(part, 1e-9) / FULL_BELOW) / Math.log(LIGHT_ABOVE / FULL_BELOW)))
  const lightest = cells > 1 ? 1 + (LIGHTEST - 1) * fullness : 1
  const top = Math.min(1, TOP * total / Math.max(1, marked) / cells)
  const strength = pale.active ? 0.25 : 1
  image.fill(0)
  // Each box is `fx` times `fy` pixels of the picture; a mark is a tick in the middle of it, where a cell is large.
  const fx = Math.floor(WIDTH / Math.max(1, columns)), fy = Math.floor(HEIGHT / Math.max(1, lines))
  const [pitch_x, pitch_y] = [wide / Math.max(1, columns), high / Math.max(1, lines)]
  const mark_x = Math.min(pitch_x, Math.max(WIDEST, Math.min(pitch_y, WIDEST_SQUARE), WIDEST_PART * pitch_x))
  const mark_y = Math.min(pitch_y, HIGHEST), gap = (mark) => mark < 4 ? 1 : 0.84
  const mx = Math.max(1, Math.round(fx * mark_x / pitch_x * gap(mark_x))), my = Math.max(1, Math.round(fy * mark_y / pitch_y * gap(mark_y)))
  const left = (fx - mx) >> 1, below = (fy - my) >> 1
  const put = (line, column, color, tone) => {
    const value = ((Math.round(255 * tone) << 24) | color) >>> 0, from = column * fx + left
    for (let y = line * fy + below; y < line * fy + below + my; y++) image.fill(value, y * WIDTH + from, y * WIDTH + from + mx)
  }
  const grow = part < FULL_BELOW && cells > 1  // few spikes among many: dots of three by three
  for (let line = 0; line < lines; line++) for (let column = 0; column < columns; column++) {
    const box = line * columns + column
    if (!count[box]) continue
    const tone = strength * (lightest + (1 - lightest) * Math.sqrt(Math.min(1, count[box] / cells / top)))
    const color = signs.length && negative[box] ? ACCENT : INK
    const reach = grow ? 1 : 0
    for (let l = Math.max(0, line - reach); l <= Math.min(lines - 1, line + reach); l++)
      for (let c = Math.max(0, column - reach); c <= Math.min(columns - 1, column + reach); c++) put(l, c, color, tone)
  }
  // Differences: what only the other run has in the accent colour (all of them where spikes are pale), and rings.
  const around = new Map(), size = 14
  for (let i = 0; i < diff_steps.length; i++) {
    const s = diff_steps[i], n = diff_rows[i]
    if (s < s0 || s >= s1 || n < n0 || n >= n1) continue
    if (diff_other[i] || pale.active) put(Math.floor((n - n0) / kn), Math.floor((s - s0) / ks), ACCENT, 1)
    const x = (s + first) * unit
    const key = Math.floor((x - x0) / (x1 - x0) * wide / size) * 65536 + Math.floor((n - y0) / (y1 - y0) * high / size)
    const ring = around.get(key) || [0, 0, 0]
    around.set(key, [ring[0] + x, ring[1] + n, ring[2] + 1])
  }
  const shown = around.size > MOST_RINGS ? [] : [...around.values()]
  rings.data = {x: shown.map((r) => r[0] / r[2]), y: shown.map((r) => r[1] / r[2])}
  Object.assign(picture.data, {
    x: [(s0 + first - 0.5) * unit], y: [n0 - 0.5], dw: [WIDTH / fx * ks * unit], dh: [HEIGHT / fy * kn],
  })
  picture.change.emit()
}
if (!plot.tags[0]) {
  plot.tags[0] = true
  requestAnimationFrame(redraw)
}
