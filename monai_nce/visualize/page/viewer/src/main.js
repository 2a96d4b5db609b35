// Show the page's volumes side by side and linked, and obey keys, mouse, touch and buttons.
import { PLANES, Panel } from './panel.js'
import { combine, fileIndices, image, inflate, unpack, valueAt, voxel } from './volumes.js'

const MANY = 10 // slices of PageUp and PageDown
const NOTCH = 40 // pixels of a touchpad that turn one slice
const STEP = 0.02 // of the picture's width, by which a key moves the wipe
const ZOOM = { start: 0.94, least: 0.5, most: 12, step: 1.15 } // the start leaves a rim for R and A

const held = document.getElementById('page-data')
const data = held ? JSON.parse(held.textContent) : { cases: [], window: [] }
const $ = (selector) => document.querySelector(selector)
const $$ = (selector) => [...document.querySelectorAll(selector)]
const reset = () => ({ window: [...data.window], limit: data.limit })
const view = { ...reset(), position: null, pan: null, plane: 'axial', crosshair: true, wipe: false, part: 0.5, against: null }

let panels = []
let shown = null // volumes of the case at work, by role
let wanted = false // a drawing is on its way
let hovered = null // position under the pointer

async function start() {
  for (const figure of $$('figure.panel')) panels.push(await Panel.in(figure))
  panels[0]?.viewer.addColormap('difference', colourMap(data.colours))
  setUpControls()
  setUpPointers()
  await open(0)
  new ResizeObserver(layOut).observe($('.panels'))
  addEventListener('resize', layOut)
  document.body.dataset.ready = 'true'
}

/** Unpack a case's volumes and give each panel its own. */
async function open(index) {
  const one = data.cases[index]
  const buffers = {}
  for (const [role, id] of Object.entries(one.volumes)) buffers[role] = await unpack(id)
  if (buffers.change) buffers.synthetic = combine(buffers.scan, buffers.change, 1)
  const differences = {}
  if (buffers.real) differences.real = combine(buffers.synthetic, buffers.real, -1)
  if (buffers.scan) differences.scan = buffers.change ?? combine(buffers.synthetic, buffers.scan, -1)
  const range = [-data.limit, data.limit]
  shown = { differences: {} }
  for (const [to, buffer] of Object.entries(differences)) {
    shown.differences[to] = await image(buffer, 'difference', range)
  }
  for (const role of ['scan', 'synthetic', 'real']) {
    if (buffers[role]) shown[role] = await image(buffers[role], 'gray', limits(view.window))
  }
  if (buffers.confidence) shown.confidence = await image(buffers.confidence, 'viridis', one.confidence)
  view.confidence = one.confidence
  for (const panel of panels) if (panel.role !== 'difference') panel.show(shown[panel.role])
  lookAtAll()
  compareWith(Object.keys(shown.differences)[0])
  $('#reduced').hidden = one.reduced === 1
  $('#reduced').textContent = one.note
  if (!shown.scan) view.wipe = false
  layOut()
  $('.viewer').dataset.case = one.name
}

/** Let the difference be that from the real image or from the scan. */
function compareWith(role) {
  view.against = role
  const panel = panels.find((one) => one.role === 'difference')
  panel?.show(shown.differences[role])
  const title = panel?.figure.querySelector('.title')
  if (title) title.textContent = `synthetic − ${role === 'real' ? 'real' : data.source}`
  $('[data-do=against]').hidden = Object.keys(shown.differences).length < 2
  draw()
}

const limits = ([level, width]) => [level - width / 2, level + width / 2]

function range(role) {
  if (role === 'difference') return [-view.limit, view.limit]
  return role === 'confidence' ? view.confidence : limits(view.window)
}

/** Move a position to the middle of its voxel. */
function centre(volume, position) {
  return voxel(volume, position).map((index, axis) => (index + 0.5) / volume.dimsRAS[axis + 1])
}

/** Give the pictures the shape of what they show, and as much of the screen as there is. */
function layOut() {
  if (!shown) return
  const box = $('.panels')
  box.classList.toggle('wiped', view.wipe)
  const count = panels.filter((panel) => panel.volume).length - (view.wipe ? 1 : 0)
  const { dimsRAS, pixDimsRAS } = shown.synthetic
  const size = [0, 1, 2].map((axis) => dimsRAS[axis + 1] * pixDimsRAS[axis + 1])
  const [across, up] = PLANES[view.plane].axes
  const shape = view.plane === 'multi' ? (size[1] + size[2]) / (size[0] + size[1]) : size[up] / size[across]
  const room = Math.max(innerHeight - $('.viewer').offsetTop - $('.under').offsetHeight - 60, 240)
  const gap = 14
  let best = { height: 0 }
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns)
    const width = (box.clientWidth - gap * (columns - 1)) / columns
    const height = Math.min(width * shape, room / rows - 30)
    if (height > best.height) best = { height, columns }
  }
  box.style.setProperty('--columns', best.columns)
  box.style.setProperty('--height', `${Math.round(Math.max(best.height, 160))}px`)
  box.style.setProperty('--part', `${view.part * 100}%`)
  draw()
}

function draw() {
  if (wanted || !shown) return
  wanted = true
  requestAnimationFrame(() => {
    wanted = false
    for (const panel of panels) if (panel.volume) panel.draw(view, range(panel.role))
    tell()
  })
}

/** Say in words and on the controls what is shown. */
function tell() {
  const volume = shown.synthetic
  const axis = PLANES[view.plane].axes[2]
  const count = volume.dimsRAS[axis + 1]
  const slice = voxel(volume, view.position)[axis]
  const slider = $('#slice')
  slider.max = count
  slider.value = slice + 1
  $('#slice-text').textContent = `Slice ${slice + 1} of ${count}`
  const [level, width] = view.window.map(Math.round)
  $('#window-text').textContent = `Level ${level}, width ${width}${data.unit && ` ${data.unit}`}`
  for (const button of $$('[data-plane]')) press(button, button.dataset.plane === view.plane)
  for (const button of $$('[data-window]')) {
    press(button, button.dataset.window === `${view.window[0]},${view.window[1]}`)
  }
  press($('[data-do=wipe]'), view.wipe)
  press($('[data-do=crosshair]'), view.crosshair)
  for (const [end, sign] of [['low', '−'], ['high', '+']]) {
    for (const label of $$(`.bar .${end}`)) label.textContent = `${sign}${Math.round(view.limit)}`
  }
  const at = hovered ?? view.position
  for (const panel of panels) {
    if (!panel.volume) continue
    const value = valueAt(panel.volume, at)
    const digits = Number.isInteger(value) ? 0 : 2
    const number = value.toFixed(digits).replace('-', '−')
    panel.readout.textContent = panel.role === 'confidence' ? number : `${number}${data.unit && ` ${data.unit}`}`
    panel.readout.dataset.value = value
  }
  $('#place-text').textContent = place(volume, at)
}

/** Say where a position is: in mm towards the patient's sides, and under which indices the file has it. */
function place(volume, at) {
  const mm = panels.find((panel) => panel.volume === volume).viewer.frac2mm(at, 0, true)
  const sides = ['LR', 'PA', 'IS'].map((pair, axis) => {
    return `${pair[mm[axis] < 0 ? 0 : 1]} ${Math.abs(mm[axis]).toFixed(1)}`
  })
  return `${sides.join(' · ')} mm · voxel ${fileIndices(volume, at).join(', ')}`
}

function press(button, is) {
  button?.setAttribute('aria-pressed', is)
}

function scroll(slices, axis = PLANES[view.plane].axes[2]) {
  const size = shown.synthetic.dimsRAS[axis + 1]
  const index = voxel(shown.synthetic, view.position)[axis] + slices
  view.position[axis] = (Math.min(Math.max(index, 0), size - 1) + 0.5) / size
  draw()
}

/** Show the whole of the middle slices. */
function lookAtAll() {
  view.position = [0.5, 0.5, 0.5]
  view.pan = [0, 0, 0, 1]
  zoom(ZOOM.start)
  view.position = centre(shown.synthetic, view.position)
}

function setWindow(level, width) {
  view.window = [level, Math.max(width, 1)]
  draw()
}

function zoom(factor) {
  const before = view.pan[3]
  const after = Math.min(Math.max(before * factor, ZOOM.least), ZOOM.most)
  const mm = panels.find((panel) => panel.volume).viewer.frac2mm(view.position)
  view.pan = [...view.pan.slice(0, 3).map((value, axis) => value + (before - after) * mm[axis]), after]
  draw()
}

function movePart(by) {
  view.part = Math.min(Math.max(view.part + by, 0), 1)
  layOut()
}

const actions = {
  wipe: () => {
    view.wipe = !view.wipe && Boolean(shown.scan)
    layOut()
  },
  crosshair: () => {
    view.crosshair = !view.crosshair
    draw()
  },
  against: () => compareWith(view.against === 'real' ? 'scan' : 'real'),
  reset: () => {
    Object.assign(view, reset(), { part: 0.5 })
    lookAtAll()
    layOut()
  },
  theme: () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === 'dark'
    const system = matchMedia('(prefers-color-scheme: dark)').matches
    const now = document.documentElement.dataset.theme ?? (dark || system ? 'dark' : 'light')
    document.documentElement.dataset.theme = now === 'dark' ? 'light' : 'dark'
  },
  print: () => print(),
  help: () => ($('#help').open ? $('#help').close() : $('#help').showModal()),
}

const keys = {
  ArrowUp: () => scroll(1),
  ArrowDown: () => scroll(-1),
  PageUp: () => scroll(MANY),
  PageDown: () => scroll(-MANY),
  Home: () => scroll(Infinity),
  End: () => scroll(-Infinity),
  ArrowLeft: () => view.wipe && movePart(-STEP),
  ArrowRight: () => view.wipe && movePart(STEP),
  '+': () => zoom(ZOOM.step),
  '=': () => zoom(ZOOM.step),
  '-': () => zoom(1 / ZOOM.step),
  a: () => setPlane('axial'),
  c: () => setPlane('coronal'),
  s: () => setPlane('sagittal'),
  m: () => setPlane('multi'),
  w: actions.wipe,
  x: actions.crosshair,
  d: () => Object.keys(shown.differences).length > 1 && actions.against(),
  r: actions.reset,
  t: actions.theme,
  p: actions.print,
  '?': actions.help,
  n: () => openNext(1),
  b: () => openNext(-1),
}

function setPlane(plane) {
  view.plane = plane
  layOut()
}

function openNext(by) {
  const select = $('#case')
  if (!select) return
  select.selectedIndex = (select.selectedIndex + by + select.length) % select.length
  open(select.selectedIndex)
}

function setUpControls() {
  for (const button of $$('[data-do]')) button.addEventListener('click', () => actions[button.dataset.do]())
  for (const button of $$('[data-plane]')) button.addEventListener('click', () => setPlane(button.dataset.plane))
  for (const button of $$('[data-window]')) {
    button.addEventListener('click', () => setWindow(...button.dataset.window.split(',').map(Number)))
  }
  $('#case')?.addEventListener('change', (event) => open(event.target.selectedIndex))
  $('#slice').addEventListener('input', (event) => {
    const axis = PLANES[view.plane].axes[2]
    scroll(Number(event.target.value) - 1 - voxel(shown.synthetic, view.position)[axis])
  })
  for (const bar of $$('.bar i')) bar.style.background = `linear-gradient(to right, ${data.colours.join(', ')})`
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('select, dialog[open]')) return
    if (event.target.id === 'slice' && /^(Arrow|Page|Home|End)/.test(event.key)) return // the slider's own
    const preset = data.presets[Number(event.key) - 1]
    if (!preset && !keys[event.key]) return
    event.preventDefault()
    if (preset) setWindow(preset[1], preset[2])
    else keys[event.key]()
  })
  addEventListener('beforeprint', () => {
    for (const panel of panels) {
      if (panel.volume) panel.figure.querySelector('img').src = panel.picture()
    }
  })
}

function setUpPointers() {
  for (const panel of panels) {
    const { canvas } = panel
    let drag = null
    let turned = 0
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId)
      const doing = event.button === 2 || event.shiftKey ? 'window' : event.button === 1 || event.ctrlKey ? 'pan' : 'look'
      const { window, limit, pan } = view
      drag = { doing, x: event.clientX, y: event.clientY, window, limit, pan, from: panel.pixel(event) }
      if (doing === 'look') lookAt(panel, event)
      event.preventDefault()
    })
    canvas.addEventListener('pointermove', (event) => {
      if (drag?.doing === 'look') lookAt(panel, event)
      else if (drag?.doing === 'window') dragWindow(panel, event, drag)
      else if (drag?.doing === 'pan') dragPan(panel, event, drag)
      hover(panel, event)
    })
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => (drag = null))
    canvas.addEventListener('pointerleave', () => hover(panel, null))
    canvas.addEventListener('contextmenu', (event) => event.preventDefault())
    canvas.addEventListener('dblclick', actions.reset)
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault()
        if (event.ctrlKey) return zoom(event.deltaY < 0 ? ZOOM.step : 1 / ZOOM.step)
        turned += event.deltaY
        const slices = Math.trunc(turned / NOTCH)
        if (!slices) return
        turned = 0
        scroll(-Math.sign(slices), panel.axis(event, view.plane))
      },
      { passive: false },
    )
  }
  let holding = false
  const handle = $('.handle')
  handle.addEventListener('pointerdown', (event) => {
    holding = true
    handle.setPointerCapture(event.pointerId)
    event.preventDefault()
  })
  handle.addEventListener('pointermove', (event) => {
    if (!holding) return
    const box = panels.find((panel) => panel.role === 'synthetic').canvas.getBoundingClientRect()
    movePart((event.clientX - box.left) / box.width - view.part)
  })
  for (const end of ['pointerup', 'pointercancel']) handle.addEventListener(end, () => (holding = false))
}

function lookAt(panel, event) {
  const position = panel.position(event)
  if (!position) return
  view.position = centre(shown.synthetic, position)
  draw()
}

function dragWindow(panel, event, { x, y, window: [level, width], limit }) {
  const [across, down] = [event.clientX - x, event.clientY - y]
  if (panel.role === 'difference') {
    view.limit = Math.max(limit * 1.005 ** across, 1)
    draw()
  } else {
    setWindow(Math.round(level + (down * width) / 300), Math.round(width * 1.005 ** across))
  }
}

function dragPan(panel, event, { from, pan }) {
  const [start, now] = [from, panel.pixel(event)].map(([x, y]) => panel.viewer.screenXY2mm(x, y))
  view.pan = [...[0, 1, 2].map((axis) => pan[axis] + pan[3] * (now[axis] - start[axis])), pan[3]]
  draw()
}

/** Show the values under a pointer in every panel, and the place in the others. */
function hover(panel, event) {
  hovered = event && panel.position(event)
  const box = panel.canvas.getBoundingClientRect()
  for (const other of panels) {
    other.pointer.hidden = !hovered || other === panel || !other.volume
    if (hovered) {
      other.pointer.style.left = `${event.clientX - box.left}px`
      other.pointer.style.top = `${event.clientY - box.top}px`
    }
  }
  tell()
}

/** Turn colours from lowest to highest into a colour map of NiiVue. */
function colourMap(colours) {
  const parts = colours.map((colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)))
  return {
    R: parts.map((part) => part[0]),
    G: parts.map((part) => part[1]),
    B: parts.map((part) => part[2]),
    A: parts.map(() => 255),
    I: parts.map((_, index) => Math.round((index * 255) / (parts.length - 1))),
  }
}

if (data.cases.length) {
  start().catch((error) => {
    $('#trouble').hidden = false
    $('#trouble').textContent = `The images cannot be shown: ${error.message}. A browser with WebGL 2 is needed.`
    console.error(error)
  })
} else if (!held) {
  globalThis.nceViewer = { PLANES, Panel, fileIndices, image, inflate, valueAt, voxel } // for a reader study's page
} else {
  for (const name of ['theme', 'print']) {
    for (const button of $$(`[data-do=${name}]`)) button.addEventListener('click', actions[name])
  }
}
