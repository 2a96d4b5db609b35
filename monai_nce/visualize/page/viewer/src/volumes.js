// Unpack the volumes that the page holds: NIfTI-1, int16, little-endian, without extensions; gzip; base64.
import { NVImage } from '@niivue/niivue'

const HEADER = 352 // bytes before the voxels

export async function unpack(id) {
  const text = atob(document.getElementById(id).textContent.trim())
  const packed = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i)
  return inflate(packed)
}

/** Unpack gzip. */
export async function inflate(packed) {
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer()
}

/** Add or subtract two volumes, voxel by voxel; what leaves int16 comes back at the other end, and back again. */
export function combine(a, b, sign) {
  const result = a.slice(0)
  const [into, from] = [new Int16Array(result, HEADER), new Int16Array(b, HEADER)]
  for (let i = 0; i < into.length; i++) into[i] += sign * from[i]
  return result
}

/** Make an image of a volume; `range` are the values that get the colour map's ends. */
export async function image(buffer, colormap, range) {
  return NVImage.new(buffer, 'volume.nii', colormap, 1, null, range[0], range[1])
}

/** Return an image's value at a position given as parts of its sides, from the patient's left, posterior and inferior. */
export function valueAt(volume, frac) {
  const { img, hdr } = volume
  return img[offset(volume, voxel(volume, frac))] * (hdr.scl_slope || 1) + hdr.scl_inter
}

/** Return the voxel at a position, along the axes towards right, anterior and superior. */
export function voxel(volume, frac) {
  return [0, 1, 2].map((axis) => {
    const size = volume.dimsRAS[axis + 1]
    return Math.min(Math.max(Math.floor(frac[axis] * size), 0), size - 1)
  })
}

/** Return the indices, from 0, under which the file has a voxel. */
export function fileIndices(volume, frac) {
  const [nx, ny] = [volume.hdr.dims[1], volume.hdr.dims[2]]
  const at = offset(volume, voxel(volume, frac))
  return [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))]
}

function offset({ img2RASstart, img2RASstep }, indices) {
  return indices.reduce((sum, index, axis) => sum + img2RASstart[axis] + index * img2RASstep[axis], 0)
}
