// Move through linked pictures: slices, zoom, window, and what keys, buttons and a pointer do; for every page with panels.
import { PLANES } from './panel.js'
import { voxel } from './volumes.js'

const MANY = 10 // slices of PageUp and PageDown
const NOTCH = 40 // pixels of a touchpad that turn one slice
const ZOOM = { start: 0.94, least: 0.5, most: 12, step: 1.15 } // the start leaves a rim for R and A

export const $ = (selector) => document.querySelector(selector)
export const $$ = (selector) => [...document.querySelectorAll(selector)]
export const press = (button, is) => button?.setAttribute('aria-pressed', is)
export const limits = ([level, width]) => [level - width / 2, level + width / 2]

export class Navigator {
  /**
   * `view` is what all `panels` show: `{ window, position, pan, plane }`. `volume()` is the one whose voxels count, or
   * nothing yet. `draw()` draws the panels and then says by `tell()` what is shown; `layOut()` first gives them their sizes.
   */
  constructor({ view, panels, volume, draw, layOut, tell }) {
    Object.assign(this, { view, panels, volume, draw, layOut, tell, pointed: null })
  }

  /** The axis across which the slices lie. */
  get axis() {
    return PLANES[this.view.plane].axes[2]
  }

  /** The position under the pointer as it is drawn now, else that of the crosshair. */
  get looked() {
    return (this.pointed && this.pointed.panel.position(this.pointed.event)) ?? this.view.position
  }

  /** Move a position to the middle of its voxel. */
  centre(position) {
    return voxel(this.volume(), position).map((index, axis) => (index + 0.5) / this.volume().dimsRAS[axis + 1])
  }

  scroll(slices, axis = this.axis) {
    const size = this.volume().dimsRAS[axis + 1]
    const index = voxel(this.volume(), this.view.position)[axis] + slices
    this.view.position[axis] = (Math.min(Math.max(index, 0), size - 1) + 0.5) / size
    this.draw()
  }

  /** Show the whole of the middle slices. */
  lookAtAll() {
    this.view.position = [0.5, 0.5, 0.5]
    this.view.pan = [0, 0, 0, 1]
    this.zoom(ZOOM.start)
    this.view.position = this.centre(this.view.position)
  }

  zoom(factor) {
    const { view } = this
    const before = view.pan[3]
    const after = Math.min(Math.max(before * factor, ZOOM.least), ZOOM.most)
    const mm = this.panels.find((panel) => panel.volume).viewer.frac2mm(view.position)
    view.pan = [...view.pan.slice(0, 3).map((value, axis) => value + (before - after) * mm[axis]), after]
    this.draw()
  }

  setWindow(level, width) {
    this.view.window = [level, Math.max(width, 1)]
    this.draw()
  }

  setPlane(plane) {
    this.view.plane = plane
    this.layOut()
  }

  keys() {
    return {
      ArrowUp: () => this.scroll(1),
      ArrowDown: () => this.scroll(-1),
      PageUp: () => this.scroll(MANY),
      PageDown: () => this.scroll(-MANY),
      Home: () => this.scroll(Infinity),
      End: () => this.scroll(-Infinity),
      '+': () => this.zoom(ZOOM.step),
      '=': () => this.zoom(ZOOM.step),
      '-': () => this.zoom(1 / ZOOM.step),
      a: () => this.setPlane('axial'),
      c: () => this.setPlane('coronal'),
      s: () => this.setPlane('sagittal'),
    }
  }

  setUpControls(actions) {
    for (const button of $$('[data-do]')) button.addEventListener('click', () => actions[button.dataset.do]())
    for (const button of $$('[data-plane]')) button.addEventListener('click', () => this.setPlane(button.dataset.plane))
    for (const button of $$('[data-window]')) {
      button.addEventListener('click', () => this.setWindow(...button.dataset.window.split(',').map(Number)))
    }
    $('#slice').addEventListener('input', (event) => {
      this.scroll(Number(event.target.value) - 1 - voxel(this.volume(), this.view.position)[this.axis])
    })
  }

  /** Say on the controls which slice, window and plane are shown. */
  tellControls(unit) {
    const { plane, position, window, crosshair } = this.view
    const count = this.volume().dimsRAS[this.axis + 1]
    const slice = voxel(this.volume(), position)[this.axis] + 1
    $('#slice').max = count
    $('#slice').value = slice
    $('#slice-text').textContent = `Slice ${slice} of ${count}`
    const [level, width] = window.map(Math.round)
    $('#window-text').textContent = `Level ${level}, width ${width}${unit && ` ${unit}`}`
    for (const button of $$('[data-plane]')) press(button, button.dataset.plane === plane)
    for (const button of $$('[data-window]')) press(button, button.dataset.window === window.join())
    press($('[data-do=crosshair]'), crosshair)
  }

  /**
   * Obey a pointer on a panel. `taken(panel, event)` may take what is pressed, and `dragged(panel, across, before)` a drag
   * that would change the window, `across` being its pixels and `before` the view at its start; they return whether they did.
   */
  listenTo(panel, { taken = () => false, dragged = () => false } = {}) {
    const { canvas } = panel
    let drag = null
    let turned = 0
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId)
      event.preventDefault()
      if (taken(panel, event)) return
      const doing = event.button === 2 || event.shiftKey ? 'window' : event.button === 1 || event.ctrlKey ? 'pan' : 'look'
      drag = { doing, x: event.clientX, y: event.clientY, before: { ...this.view }, from: panel.pixel(event) }
      if (doing === 'look') this.lookAt(panel, event)
    })
    canvas.addEventListener('pointermove', (event) => {
      if (drag?.doing === 'look') this.lookAt(panel, event)
      else if (drag?.doing === 'window') {
        const [across, down] = [event.clientX - drag.x, event.clientY - drag.y]
        const [level, width] = drag.before.window
        if (!dragged(panel, across, drag.before)) {
          this.setWindow(Math.round(level + (down * width) / 300), Math.round(width * 1.005 ** across))
        }
      } else if (drag?.doing === 'pan') this.move(panel, event, drag)
      this.point(panel, event)
    })
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => (drag = null))
    canvas.addEventListener('pointerleave', () => this.point(panel, null))
    canvas.addEventListener('contextmenu', (event) => event.preventDefault())
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault()
        if (event.ctrlKey) return this.zoom(event.deltaY < 0 ? ZOOM.step : 1 / ZOOM.step)
        turned += event.deltaY
        const slices = Math.trunc(turned / NOTCH)
        if (!slices) return
        turned = 0
        this.scroll(-Math.sign(slices), panel.axis(event, this.view.plane))
      },
      { passive: false },
    )
  }

  lookAt(panel, event) {
    const position = panel.position(event)
    if (!position) return
    this.view.position = this.centre(position)
    this.draw()
  }

  move(panel, event, { from, before: { pan } }) {
    const [start, now] = [from, panel.pixel(event)].map(([x, y]) => panel.viewer.screenXY2mm(x, y))
    this.view.pan = [...[0, 1, 2].map((axis) => pan[axis] + pan[3] * (now[axis] - start[axis])), pan[3]]
    this.draw()
  }

  /** Show the values under a pointer in every panel, and the place in the others. */
  point(panel, event) {
    if (!this.volume()) return
    this.pointed = event && { panel, event }
    const inside = event && panel.position(event)
    const box = panel.canvas.getBoundingClientRect()
    for (const other of this.panels) {
      other.pointer.hidden = !inside || other === panel || !other.volume
      if (inside) {
        other.pointer.style.left = `${event.clientX - box.left}px`
        other.pointer.style.top = `${event.clientY - box.top}px`
      }
    }
    this.tell()
  }
}
