//! Thumbnails of pictures.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageReader, Limits, codecs::jpeg::JpegEncoder, imageops::FilterType,
};

use crate::refusal::Result;

/// The longest side of a thumbnail, in pixels: twice what is shown, for dense screens.
const SIDE: u32 = 640;
/// Smaller pictures are shown as they are.
const SMALL_BYTES: usize = 100_000;

/// What is known of a picture.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// A JPEG; `None` for a picture that is small itself.
    pub(crate) thumbnail: Option<Bytes>,
}

/// Reads a picture, on a thread that may block. Returns `None` if it is none, or larger than a program should be asked to read.
pub(crate) async fn make(bytes: Bytes) -> Result<Option<Picture>> {
    Ok(tokio::task::spawn_blocking(move || read(&bytes)).await?)
}

fn read(bytes: &Bytes) -> Option<Picture> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    // A small file can claim to be a large picture.
    let mut limits = Limits::default();
    limits.max_image_width = Some(16_384);
    limits.max_image_height = Some(16_384);
    limits.max_alloc = Some(256 << 20);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let orientation = decoder.orientation().ok()?;
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    let is_small = width.max(height) <= SIDE && bytes.len() <= SMALL_BYTES;
    Some(Picture { width, height, thumbnail: if is_small { None } else { Some(shrink(&picture)?) } })
}

fn shrink(picture: &DynamicImage) -> Option<Bytes> {
    let side = SIDE.min(picture.width().max(picture.height()));
    let small = picture.resize(side, side, FilterType::Triangle).to_rgba8();
    // JPEG has no transparency: it becomes white.
    let opaque = image::RgbImage::from_fn(small.width(), small.height(), |x, y| {
        let [red, green, blue, alpha] = small.get_pixel(x, y).0.map(u32::from);
        let over = |colour: u32| ((colour * alpha + 255 * (255 - alpha)) / 255) as u8;
        image::Rgb([over(red), over(green), over(blue)])
    });
    let mut jpeg = Vec::new();
    opaque.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 80)).ok()?;
    Some(jpeg.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Bytes {
        let mut bytes = Vec::new();
        let noise = image::RgbaImage::from_fn(width, height, |x, y| {
            image::Rgba([(x * y) as u8, (x ^ y) as u8, x as u8, y as u8])
        });
        noise.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes.into()
    }

    #[test]
    fn a_large_picture_has_a_small_one() {
        let picture = read(&png(1600, 800)).unwrap();
        assert_eq!((picture.width, picture.height), (1600, 800));
        let thumbnail = read(&picture.thumbnail.unwrap()).unwrap();
        assert_eq!((thumbnail.width, thumbnail.height), (640, 320));
        assert!(read(&png(8, 8)).unwrap().thumbnail.is_none());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(read(&Bytes::from_static(b"\x89PNG\r\n\x1a\n but not really")).is_none());
        // A header that claims 60,000 x 60,000 pixels.
        let mut bomb = png(8, 8).to_vec();
        bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        assert!(read(&bomb.into()).is_none());
    }
}
