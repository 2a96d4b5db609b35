// Bundle the viewer into one file, ../viewer.js, and collect the licences of what is in it in ../viewer.licenses.txt.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'

const OUT = '../viewer.js'
// NiiVue reads Zarr by 1.4 MB of decoders, which a page of NIfTI volumes does not need
const withoutZarr = {
  name: 'without-zarr',
  setup(build) {
    build.onResolve({ filter: /^zarrita$/ }, () => ({ path: 'zarrita', namespace: 'left-out' }))
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {}', loader: 'js' }))
  },
}

const result = await build({
  entryPoints: ['src/main.js'],
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'ascii',
  legalComments: 'none',
  logOverride: { 'import-is-undefined': 'silent' },
  metafile: true,
  write: false,
  plugins: [withoutZarr],
})

const [output] = Object.values(result.metafile.outputs)
const parts = new Set()
for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
  const found = path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)
  if (found && bytesInOutput > 0) parts.add(found[1])
}
const described = [...parts].sort().map((name) => {
  const folder = `node_modules/${name}`
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  const own = `licenses/${name.replaceAll('/', '_')}.txt` // of packages that come without theirs
  if (!file && !existsSync(own)) throw new Error(`${name}: put its licence into ${own}`)
  return { title: `${name} ${version} (${license})`, text: readFileSync(file ? `${folder}/${file}` : own, 'utf8') }
})
const titles = described.map(({ title }) => title)
writeFileSync(OUT, `/* monai-nce, with ${titles.join(', ')}; see viewer.licenses.txt */\n${result.outputFiles[0].text}`)
const licences = described.map(({ title, text }) => `${title}\n\n${text.trim()}\n`)
writeFileSync(OUT.replace('.js', '.licenses.txt'), licences.join(`\n${'-'.repeat(80)}\n\n`))
console.log(`${OUT}: ${(output.bytes / 1e6).toFixed(2)} MB: ${titles.join(', ')}`)
