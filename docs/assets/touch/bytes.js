// Text as bytes in UTF-8, and bytes as text.
touch.bytes = (() => {
  function encode(text) {
    const bytes = [];
    for (const character of text) {
      const point = character.codePointAt(0);
      if (point < 0x80) bytes.push(point);
      else {
        const more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
        bytes.push([0, 0xc0, 0xe0, 0xf0][more] | (point >> (6 * more)));
        for (let left = more - 1; left >= 0; left--) bytes.push(0x80 | ((point >> (6 * left)) & 0x3f));
      }
    }
    return bytes;
  }

  // The byte after these has a narrower range: no character is written in two ways, none is a half.
  const LEAST = { 0xe0: 0xa0, 0xf0: 0x90 }, MOST = { 0xed: 0x9f, 0xf4: 0x8f };

  // What is not UTF-8 becomes U+FFFD, one for each broken sequence.
  function decode(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; ) {
      const lead = bytes[at++];
      const more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
      let point = more ? lead & (0x3f >> more) : lead, seen = 0;
      let least = LEAST[lead] ?? 0x80, most = MOST[lead] ?? 0xbf;
      for (; seen < more && bytes[at] >= least && bytes[at] <= most; seen++) {
        point = (point << 6) | (bytes[at++] & 0x3f);
        [least, most] = [0x80, 0xbf];
      }
      text += seen === more && (more || lead < 0x80) ? String.fromCodePoint(point) : "\ufffd";
    }
    return text;
  }

  return { encode, decode };
})();
