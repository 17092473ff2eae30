// A safetensors file: the length of its header in eight bytes, the header in JSON, all the numbers.
touch.safetensors = (() => {
  function half(bits) { // 16 bits: a sign, 5 of exponent, 10 of fraction
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
  }

  const TYPES = {
    F32: (bytes) => new Float32Array(bytes),
    F16: (bytes) => Float32Array.from(new Uint16Array(bytes), half),
    I8: (bytes) => Float32Array.from(new Int8Array(bytes)),
  };

  // Returns {name: {shape, data}}; of rows in 8 bits with a scale each, `name.scale`, the products.
  function read(bytes) {
    const { buffer } = new Uint8Array(bytes);
    const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    const letters = Array.from(new Uint8Array(buffer, 8, start - 8), (one) => String.fromCharCode(one));
    const header = JSON.parse(letters.join(""));
    delete header.__metadata__;
    const tensors = {};
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      if (!TYPES[dtype]) throw new Error(`${name} is of type ${dtype}, which is not read here`);
      tensors[name] = { shape, data: TYPES[dtype](buffer.slice(start + from, start + to)) };
    }
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      const scale = tensors[`${name}.scale`];
      if (scale) for (let at = 0; at < data.length; at++) data[at] *= scale.data[Math.floor(at / shape[1])];
    }
    return tensors;
  }

  return { read };
})();
