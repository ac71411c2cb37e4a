export { type Cifar10Options, cifar10 } from './cifar10';
export { Dataset, type DatasetImage, pixelsOf, type SkippedFile } from './dataset';
export { type FromPixelsOptions, fromPixels, type Pixels } from './fromPixels';
export { type ImageFolderOptions, type ImageFolderProgress, imageFolder } from './imageFolder';
export { type MnistOptions, mnist } from './mnist';
