/** The number of parameters of a U-Net, counted from its structure alone. */
export interface Structure {
  inChannels: number;
  outChannels: number;
  blockOutChannels: number[];
  layersPerBlock: number;
  attention: boolean[];
  classes: number;
}

const dense = (from: number, to: number) => from * to + to;
const conv = (from: number, to: number, kernel: number) => from * to * kernel * kernel + to;
const norm = (channels: number) => 2 * channels;

function residualBlock(from: number, to: number, embedding: number): number {
  const shortcut = from === to ? 0 : conv(from, to, 1);
  return norm(from) + conv(from, to, 3) + dense(embedding, to) + norm(to) + conv(to, to, 3) + shortcut;
}

/** Group norm, then query, key, value and output, each with a bias. */
const attentionBlock = (channels: number) => norm(channels) + 4 * dense(channels, channels);

export function parameterCount(structure: Structure): number {
  const { inChannels, outChannels, blockOutChannels, layersPerBlock, attention, classes } = structure;
  const first = blockOutChannels[0];
  const last = blockOutChannels[blockOutChannels.length - 1];
  const embedding = 4 * first;
  let count = conv(inChannels, first, 3);
  count += dense(first, embedding) + dense(embedding, embedding) + classes * embedding;

  // On the way down, the channels of every feature map that a skip connection will carry to the way up.
  const skips = [first];
  let current = first;
  blockOutChannels.forEach((channels, level) => {
    for (let block = 0; block < layersPerBlock; block++) {
      count += residualBlock(current, channels, embedding) + (attention[level] ? attentionBlock(channels) : 0);
      current = channels;
      skips.push(current);
    }
    if (level < blockOutChannels.length - 1) {
      count += conv(current, current, 3);
      skips.push(current);
    }
  });

  count += 2 * residualBlock(last, last, embedding) + attentionBlock(last);

  for (let level = blockOutChannels.length - 1; level >= 0; level--) {
    const channels = blockOutChannels[level];
    for (let block = 0; block < layersPerBlock + 1; block++) {
      count += residualBlock(current + (skips.pop() as number), channels, embedding);
      count += attention[level] ? attentionBlock(channels) : 0;
      current = channels;
    }
    if (level > 0) count += conv(current, current, 3);
  }
  return count + norm(current) + conv(current, outChannels, 3);
}
