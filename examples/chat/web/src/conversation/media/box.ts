const MOST = { width: 340, height: 380 };
const LEAST = { width: 140, height: 90 };

/** Returns the size at which a picture is shown. It depends on what the message says alone, so nothing moves when it has loaded. */
export function boxOf(width: number, height: number): { readonly width: number; readonly height: number } {
  if (width <= 0 || height <= 0) return { width: 240, height: 180 };
  const scale = Math.min(1, MOST.width / width, MOST.height / height);
  return { width: Math.max(LEAST.width, Math.round(width * scale)), height: Math.max(LEAST.height, Math.round(height * scale)) };
}
