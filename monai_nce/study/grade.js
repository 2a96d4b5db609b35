// Let a reader grade a study's images, one after the other: what is saved is on the server's disk before the next comes.
'use strict'
{
  const { $, $$, Navigator, PLANES, Panel, fileIndices, image, inflate, limits, press, valueAt, voxel } = globalThis.nceViewer
  const WINDOW = [50, 300]
  const RETRIES = [300, 1000, 3000] // ms to wait before a request is sent again to a server that does not answer

  const view = { window: [...WINDOW], position: null, pan: null, plane: 'axial', crosshair: false }
  const panels = []
  const volume = () => panels[1]?.volume
  const nav = new Navigator({ view, panels, volume, draw, layOut, tell })
  let place = null // as the server says: { done, total, now, before, ask_real }
  let shown = null // the id of the image at work
  let answers = {} // to the questions, in their order
  let marks = [] // { voxel: the file's indices, frac }
  let marking = false
  let busy = false
  let wanted = false // a drawing is on its way
  let looked = 0 // ms, until `since`
  let since = null

  async function start() {
    for (const figure of $$('figure.panel')) panels.push(await Panel.in(figure))
    setUpControls()
    for (const panel of panels) nav.listenTo(panel, { taken })
    new ResizeObserver(layOut).observe($('.panels'))
    addEventListener('resize', layOut)
    const token = decodeURIComponent(location.hash.slice(1))
    if (token) {
      history.replaceState(null, '', location.pathname) // out of the address, and of the history
      await signIn(token)
    } else {
      await goOn()
    }
    document.body.dataset.ready = 'true'
  }

  /** Ask the server; a grade is the same when it is sent twice, so that it may be sent again. */
  async function ask(path, options = {}) {
    for (let attempt = 0; ; attempt++) {
      let response
      try {
        response = await fetch(`api/${path}`, {
          cache: 'no-store',
          ...options,
          headers: options.body ? { 'Content-Type': 'application/json' } : {},
          body: options.body && JSON.stringify(options.body),
        })
      } catch {
        if (attempt === RETRIES.length) throw new Error('The server does not answer. What was saved is safe; reload this page later.')
        await new Promise((done) => setTimeout(done, RETRIES[attempt]))
        continue
      }
      if (response.ok) return response
      const said = (await response.json().catch(() => ({}))).error ?? response.statusText
      throw Object.assign(new Error(said), { status: response.status })
    }
  }

  async function signIn(token) {
    try {
      await ask('session', { method: 'POST', body: { token } })
      await goOn()
    } catch (error) {
      show('#sign-in')
      tellTrouble(error)
    }
  }

  /** Show what comes now: sign-in, the image to grade, or the end. */
  async function goOn(known = null) {
    try {
      place = known ?? (await (await ask('place')).json())
    } catch (error) {
      show('#sign-in')
      if (error.status !== 401) tellTrouble(error)
      return
    }
    tellProgress()
    if (place.now) await open(place.now)
    else tellMessage('All images are graded', `Thank you. ${place.total} of ${place.total} grades are saved.`, false)
  }

  /** Show one image of the reader's, with what was said of it before. */
  async function open(id) {
    const [scan, made] = await Promise.all(
      ['scan', 'image'].map(async (role) => {
        const packed = await (await ask(`images/${id}/${role}.nii.gz`)).arrayBuffer()
        return image(await inflate(packed), 'gray', limits(WINDOW))
      }),
    )
    const before = id === place.before ? (await (await ask(`images/${id}/grade`)).json()).grade : null
    show('main')
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))) // canvases take their sizes
    const fresh = shown !== id
    shown = id
    for (const panel of panels) panel.show(panel.role === 'scan' ? scan : made)
    if (fresh) Object.assign(view, { window: [...WINDOW], plane: 'axial' })
    nav.lookAtAll()
    const draft = before ?? JSON.parse(sessionStorage.getItem(id) ?? '{}')
    answers = {}
    for (const name of questions()) if (draft[name] != null) answers[name] = draft[name]
    $('#comment').value = draft.comment ?? ''
    marks = (draft.marks ?? []).map((mark) => ({ voxel: mark.voxel, frac: mark.frac ?? fracOf(mark.mm) }))
    looked = 0
    since = performance.now()
    setMarking(false)
    tellAnswers()
    layOut()
    $('main').dataset.image = id
  }

  const questions = () => ['quality', 'artefact', ...(place.ask_real ? ['looks_real'] : [])]
  const fracOf = (mm) => nav.centre(Array.from(panels[1].viewer.mm2frac(mm, 0, true)))

  async function save() {
    if (busy || !complete()) return
    busy = true
    $('#save').disabled = true
    $('#saved').textContent = 'Saving …'
    const id = shown
    const seconds = (looked + (performance.now() - since)) / 1000
    const grade = { ...answers, comment: $('#comment').value, marks: marks.map((mark) => mark.voxel), seconds }
    try {
      const next = await (await ask(`images/${id}/grade`, { method: 'PUT', body: grade })).json()
      sessionStorage.removeItem(id)
      $('#trouble').hidden = true
      $('#saved').textContent = `Grade ${next.done} is saved.`
      await goOn(next)
    } catch (error) {
      $('#saved').textContent = 'Not saved.'
      if (error.status === 404) await goOn() // graded in another tab meanwhile
      if (error.status === 401) show('#sign-in')
      tellTrouble(error)
    } finally {
      busy = false
      tellAnswers()
    }
  }

  const complete = () => shown && questions().every((name) => answers[name] !== undefined)

  function answer(name, value) {
    answers[name] = value
    keepDraft()
    tellAnswers()
  }

  /** Keep what is not saved yet in this tab, in case that it is reloaded. */
  function keepDraft() {
    sessionStorage.setItem(shown, JSON.stringify({ ...answers, comment: $('#comment').value, marks }))
  }

  function show(one) {
    for (const part of ['#sign-in', '#message', 'main']) $(part).hidden = part !== one
    for (const name of ['back', 'pause']) $(`[data-do=${name}]`).hidden = one !== 'main'
    $('.progress').hidden = one === '#sign-in'
    if (one === '#sign-in') $('#token').focus()
    if (one === 'main') $('#trouble').hidden = true
  }

  function tellTrouble(error) {
    $('#trouble').hidden = false
    $('#trouble').textContent = error.message
  }

  function tellMessage(title, text, more) {
    $('#message h2').textContent = title
    $('#message p').textContent = text
    $('[data-do=go-on]').hidden = !more
    show('#message')
  }

  function tellProgress() {
    $('#progress').max = place.total
    $('#progress').value = place.done
    $('#progress-text').textContent = `${place.done} of ${place.total} graded`
    for (const part of $$('.asked, [data-question=looks_real]')) part.hidden = !place.ask_real
  }

  function tellAnswers() {
    if (!place) return
    const next = questions().find((name) => answers[name] === undefined)
    for (const field of $$('[data-question]')) {
      field.classList.toggle('asked-now', field.dataset.question === next)
      for (const button of field.querySelectorAll('button')) {
        press(button, JSON.parse(button.value) === answers[field.dataset.question])
      }
    }
    $('[data-do=back]').disabled = !place.before || shown === place.before
    $('#save').disabled = busy || !complete()
    const items = marks.map((mark, at) => {
      const item = document.createElement('li')
      const there = document.createElement('button')
      const away = document.createElement('button')
      there.type = away.type = 'button'
      there.textContent = `${at + 1}: voxel ${mark.voxel.join(', ')}`
      there.title = 'Show it'
      away.textContent = '×'
      away.title = 'Remove this mark'
      there.addEventListener('click', () => ((view.position = [...mark.frac]), draw()))
      away.addEventListener('click', () => (marks.splice(at, 1), keepDraft(), tellAnswers(), draw()))
      item.append(there, away)
      return item
    })
    $('#marks').replaceChildren(...items)
  }

  function layOut() {
    if (!volume() || $('main').hidden) return
    const { dimsRAS, pixDimsRAS } = volume()
    const size = [0, 1, 2].map((axis) => dimsRAS[axis + 1] * pixDimsRAS[axis + 1])
    const [across, up] = PLANES[view.plane].axes
    const box = $('.panels')
    const room = Math.max(innerHeight - box.offsetTop - 90, 240)
    const width = (box.clientWidth - 14) / 2
    const height = Math.max(Math.min((width * size[up]) / size[across], room), 220)
    box.style.setProperty('--height', `${Math.round(height)}px`)
    draw()
  }

  function draw() {
    if (wanted || !volume() || $('main').hidden) return
    wanted = true
    requestAnimationFrame(() => {
      wanted = false
      for (const panel of panels) panel.draw(view, limits(view.window))
      drawMarks()
      tell()
    })
  }

  function drawMarks() {
    const panel = panels[1]
    for (const old of panel.figure.querySelectorAll('.ring')) old.remove()
    const { axis } = nav
    const at = voxel(volume(), view.position)[axis]
    for (const mark of marks) {
      if (voxel(volume(), mark.frac)[axis] !== at) continue
      const pixel = panel.viewer.frac2canvasPos(mark.frac.map((part, i) => (i === axis ? view.position[i] : part)))
      if (!pixel) continue
      const ring = document.createElement('i')
      const scale = panel.canvas.getBoundingClientRect().width / panel.canvas.width
      ring.className = 'ring'
      ring.style.left = `${pixel[0] * scale}px`
      ring.style.top = `${pixel[1] * scale}px`
      panel.canvas.parentElement.append(ring)
    }
  }

  function tell() {
    nav.tellControls('HU')
    for (const panel of panels) {
      panel.readout.textContent = `${valueAt(panel.volume, nav.looked).toFixed(0).replace('-', '−')} HU`
    }
  }

  function setMarking(is) {
    marking = is
    $('main').classList.toggle('marking', is)
  }

  const actions = {
    crosshair: () => ((view.crosshair = !view.crosshair), draw()),
    reset: () => (Object.assign(view, { window: [...WINDOW] }), nav.lookAtAll(), layOut()),
    mark: () => setMarking(!marking),
    help: () => ($('#help').open ? $('#help').close() : $('#help').showModal()),
    back: () => place.before && shown !== place.before && open(place.before).catch(tellTrouble),
    pause: () => {
      looked += performance.now() - since
      since = performance.now()
      tellMessage('Paused', 'All grades up to here are saved. You may also close this page, and go on another day.', true)
    },
    'go-on': () => {
      since = performance.now()
      if (volume() && shown) (show('main'), layOut())
      else goOn()
    },
    'sign-out': async () => {
      await ask('session', { method: 'DELETE' }).catch(tellTrouble)
      location.reload()
    },
  }
  const keys = {
    ...nav.keys(),
    w: nextWindow,
    x: actions.crosshair,
    r: actions.reset,
    k: actions.mark,
    b: actions.back,
    p: actions.pause,
    '?': actions.help,
    Escape: () => setMarking(false),
    Enter: save,
    Backspace: () => {
      const last = questions().findLast((name) => answers[name] !== undefined)
      if (last) delete answers[last]
      keepDraft()
      tellAnswers()
    },
  }

  function nextWindow() {
    const all = $$('[data-window]').map((button) => button.dataset.window)
    const next = all[(all.indexOf(view.window.join()) + 1) % all.length]
    nav.setWindow(...next.split(',').map(Number))
  }

  /** Take a digit as the answer to the first open question. */
  function answerNext(digit) {
    const name = questions().find((one) => answers[one] === undefined)
    if (!name) return
    if (name !== 'looks_real') answer(name, digit)
    else if (digit <= 2) answer(name, digit === 1)
  }

  function setUpControls() {
    for (const field of $$('[data-question]')) {
      const choices = field.dataset.question === 'looks_real' ? [true, false] : [1, 2, 3, 4, 5]
      for (const value of choices) {
        const button = document.createElement('button')
        button.type = 'button'
        button.value = JSON.stringify(value)
        button.textContent = value === true ? 'real' : value === false ? 'synthetic' : value
        button.addEventListener('click', () => answer(field.dataset.question, value))
        field.querySelector('.scale').append(button)
      }
    }
    nav.setUpControls(actions)
    $('#comment').addEventListener('input', keepDraft)
    $('#sign-in').addEventListener('submit', (event) => {
      event.preventDefault()
      const token = $('#token').value.trim()
      $('#token').value = ''
      signIn(token.slice(token.lastIndexOf('#') + 1))
    })
    $('#grade').addEventListener('submit', (event) => {
      event.preventDefault()
      save()
    })
    addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || $('main').hidden) return
      if (event.target.closest('textarea, dialog[open]')) return
      if (event.target.id === 'slice' && /^(Arrow|Page|Home|End)/.test(event.key)) return // the slider's own
      if (event.key === 'Enter' && event.target.closest('button')) return // presses it
      const digit = Number(event.key)
      if (digit >= 1 && digit <= 5) answerNext(digit)
      else if (keys[event.key]) keys[event.key]()
      else return
      event.preventDefault()
    })
  }

  /** Mark the place that is pressed while a mark is to be set. */
  function taken(panel, event) {
    document.activeElement?.blur() // so that keys grade again
    if (!marking || panel.role !== 'image') return false
    const position = panel.position(event)
    if (position) {
      marks.push({ voxel: fileIndices(volume(), position), frac: nav.centre(position) })
      setMarking(false)
      keepDraft()
      tellAnswers()
      draw()
    }
    return true
  }

  start().catch((error) => {
    tellTrouble(new Error(`The images cannot be shown: ${error.message}. A browser with WebGL 2 is needed.`))
    console.error(error)
  })
}
