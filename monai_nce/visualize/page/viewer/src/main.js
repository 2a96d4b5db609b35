// Show the page's volumes side by side and linked, and obey keys, mouse, touch and buttons.
import { $, $$, Navigator, limits, press } from './navigator.js'
import { PLANES, Panel } from './panel.js'
import { combine, fileIndices, image, inflate, unpack, valueAt, voxel } from './volumes.js'

const STEP = 0.02 // of the picture's width, by which a key moves the wipe

const held = document.getElementById('page-data')
const data = held ? JSON.parse(held.textContent) : { cases: [], window: [] }
const reset = () => ({ window: [...data.window], limit: data.limit })
const view = { ...reset(), position: null, pan: null, plane: 'axial', crosshair: true, wipe: false, part: 0.5, against: null }

const panels = []
let shown = null // volumes of the case at work, by role
let wanted = false // a drawing is on its way
const nav = new Navigator({ view, panels, volume: () => shown?.synthetic, draw, layOut, tell })

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
  nav.lookAtAll()
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

function range(role) {
  if (role === 'difference') return [-view.limit, view.limit]
  return role === 'confidence' ? view.confidence : limits(view.window)
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
  nav.tellControls(data.unit)
  press($('[data-do=wipe]'), view.wipe)
  for (const [end, sign] of [['low', '−'], ['high', '+']]) {
    for (const label of $$(`.bar .${end}`)) label.textContent = `${sign}${Math.round(view.limit)}`
  }
  const at = nav.looked
  for (const panel of panels) {
    if (!panel.volume) continue
    const value = valueAt(panel.volume, at)
    const digits = Number.isInteger(value) ? 0 : 2
    const number = value.toFixed(digits).replace('-', '−')
    panel.readout.textContent = panel.role === 'confidence' ? number : `${number}${data.unit && ` ${data.unit}`}`
    panel.readout.dataset.value = value
  }
  $('#place-text').textContent = place(shown.synthetic, at)
}

/** Say where a position is: in mm towards the patient's sides, and under which indices the file has it. */
function place(volume, at) {
  const mm = panels.find((panel) => panel.volume === volume).viewer.frac2mm(at, 0, true)
  const sides = ['LR', 'PA', 'IS'].map((pair, axis) => {
    return `${pair[mm[axis] < 0 ? 0 : 1]} ${Math.abs(mm[axis]).toFixed(1)}`
  })
  return `${sides.join(' · ')} mm · voxel ${fileIndices(volume, at).join(', ')}`
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
    nav.lookAtAll()
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
  ...nav.keys(),
  ArrowLeft: () => view.wipe && movePart(-STEP),
  ArrowRight: () => view.wipe && movePart(STEP),
  m: () => nav.setPlane('multi'),
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

function openNext(by) {
  const select = $('#case')
  if (!select) return
  select.selectedIndex = (select.selectedIndex + by + select.length) % select.length
  open(select.selectedIndex)
}

function setUpControls() {
  nav.setUpControls(actions)
  $('#case')?.addEventListener('change', (event) => open(event.target.selectedIndex))
  for (const bar of $$('.bar i')) bar.style.background = `linear-gradient(to right, ${data.colours.join(', ')})`
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('select, dialog[open]')) return
    if (event.target.id === 'slice' && /^(Arrow|Page|Home|End)/.test(event.key)) return // the slider's own
    const preset = data.presets[Number(event.key) - 1]
    if (!preset && !keys[event.key]) return
    event.preventDefault()
    if (preset) nav.setWindow(preset[1], preset[2])
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
    nav.listenTo(panel, { dragged: dragLimit })
    panel.canvas.addEventListener('dblclick', actions.reset)
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

/** Let a drag across the difference change its range in place of the window. */
function dragLimit(panel, across, { limit }) {
  if (panel.role !== 'difference') return false
  view.limit = Math.max(limit * 1.005 ** across, 1)
  draw()
  return true
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
  // for the page of a reader study
  globalThis.nceViewer = { $, $$, Navigator, PLANES, Panel, fileIndices, image, inflate, limits, press, valueAt, voxel }
} else {
  for (const name of ['theme', 'print']) {
    for (const button of $$(`[data-do=${name}]`)) button.addEventListener('click', actions[name])
  }
}
