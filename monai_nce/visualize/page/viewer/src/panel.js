// One picture of the page: a canvas with a volume in it, which shows what all of them show.
import { MULTIPLANAR_TYPE, Niivue, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue'

export const PLANES = {
  axial: { type: SLICE_TYPE.AXIAL, axes: [0, 1, 2] },
  coronal: { type: SLICE_TYPE.CORONAL, axes: [0, 2, 1] },
  sagittal: { type: SLICE_TYPE.SAGITTAL, axes: [1, 2, 0] },
  multi: { type: SLICE_TYPE.MULTIPLANAR, axes: [0, 1, 2] },
}
const CROSSHAIR = [1, 0.79, 0.3, 0.6]
const CROSSHAIR_PIXELS = 1.1 // thinner ones vanish between pixels
const LABELS = [0.78, 0.78, 0.78, 1]

export class Panel {
  static async in(figure) {
    const panel = new Panel()
    panel.figure = figure
    panel.role = figure.dataset.role
    panel.canvas = figure.querySelector('canvas')
    panel.readout = figure.querySelector('.value')
    panel.pointer = figure.querySelector('.pointer')
    panel.viewer = new Niivue({
      interactive: false,
      dragAndDropEnabled: false,
      logLevel: 'error',
      loadingText: '',
      isRadiologicalConvention: true,
      multiplanarShowRender: SHOW_RENDER.NEVER,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarPadPixels: 4,
      fontMinPx: 13,
      fontSizeScaling: 0,
      fontColor: LABELS,
      crosshairColor: CROSSHAIR,
      crosshairGap: 12,
      crosshairWidthUnit: 'mm',
    })
    await panel.viewer.attachToCanvas(panel.canvas, false)
    return panel
  }

  show(volume) {
    for (const old of [...this.viewer.volumes]) this.viewer.removeVolume(old)
    this.volume = volume
    if (volume) this.viewer.addVolume(volume)
    this.figure.hidden = !volume
  }

  /** Take over what is looked at: `{ position, pan, plane, crosshair }`, and the values from black to white. */
  draw(view, [low, high]) {
    const { viewer, volume } = this
    viewer.scene.crosshairPos = view.position
    viewer.scene.pan2Dxyzmm = view.pan
    viewer.opts.sliceType = PLANES[view.plane].type
    if (volume.cal_min !== low || volume.cal_max !== high) {
      volume.cal_min = low
      volume.cal_max = high
      viewer.updateGLVolume() // draws too
    } else {
      viewer.drawScene()
    }
    this.drawCrosshair(view.crosshair)
  }

  /** Draw once more where the crosshair is no longer as wide as it should be, in pixels. */
  drawCrosshair(wanted) {
    const { viewer } = this
    const { fovMM, leftTopWidthHeight } = viewer.screenSlices[0]
    const width = wanted ? (CROSSHAIR_PIXELS * Math.abs(fovMM[0])) / leftTopWidthHeight[2] : 0
    if (Math.abs(viewer.opts.crosshairWidth - width) <= 0.02 * width) return
    viewer.opts.crosshairWidth = width
    if (viewer.crosshairs3D) viewer.crosshairs3D.mm[0] = NaN // has it made again
    viewer.drawScene()
  }

  /** Return where a pointer is, in pixels of the canvas. */
  pixel(event) {
    const box = this.canvas.getBoundingClientRect()
    const scale = this.canvas.width / box.width
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale]
  }

  /** Return the position under a pointer as parts of the volume's sides, or null beside the picture. */
  position(event) {
    if (!this.volume) return null
    const frac = this.viewer.canvasPos2frac(this.pixel(event))
    return frac[0] < 0 ? null : Array.from(frac)
  }

  /** Return the axis, 0 to 2, across which the slice under a pointer lies. */
  axis(event, plane) {
    const [x, y] = this.pixel(event)
    const tile = this.viewer.tileIndex(x, y)
    const shown = this.viewer.screenSlices[tile]?.axCorSag ?? PLANES[plane].type
    return { [SLICE_TYPE.AXIAL]: 2, [SLICE_TYPE.CORONAL]: 1, [SLICE_TYPE.SAGITTAL]: 0 }[shown] ?? 2
  }

  /** Return the picture as it is drawn now, for what cannot show a canvas. */
  picture() {
    this.viewer.drawScene()
    return this.canvas.toDataURL('image/png')
  }
}
