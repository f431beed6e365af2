//! A batch on the device: everything but activations that the layers of a pass read, uploaded once.

use std::ops::Range;

use super::batch::{Batch, Image};
use super::positions::{self, TextAngles};
use super::shape::ModelShape;
use crate::kernels::{Angles, Kernels, Mask, Segment};

/// The rows of a stack: their number, their rotary angles, and which attend to which.
#[derive(Debug)]
pub(super) struct Rows<K: Kernels> {
    pub(super) count: usize,
    pub(super) angles: Angles<K>,
    /// Those of the queries, if they are not the same.
    query_angles: Option<Angles<K>>,
    pub(super) segments: K::Segments,
    pub(super) mask: Mask,
}

impl<K: Kernels> Rows<K> {
    /// The rotary angles of queries.
    pub(super) fn query_angles(&self) -> &Angles<K> {
        self.query_angles.as_ref().unwrap_or(&self.angles)
    }
}

/// Some rows of a stack, by index.
#[derive(Debug)]
pub(super) struct RowSelection<K: Kernels> {
    pub(super) count: usize,
    pub(super) indices: K::Indices,
}

impl<K: Kernels> RowSelection<K> {
    pub(super) fn new(kernels: &K, rows: &[u32]) -> RowSelection<K> {
        RowSelection { count: rows.len(), indices: kernels.indices(rows) }
    }
}

/// A [`Batch`] on the device.
#[derive(Debug)]
pub(super) struct DeviceBatch<K: Kernels> {
    pub(super) ids: K::Indices,
    pub(super) text: Rows<K>,
    pub(super) images: Option<DeviceImages<K>>,
}

/// The images of a batch on the device.
#[derive(Debug)]
pub(super) struct DeviceImages<K: Kernels> {
    /// Their patches.
    pub(super) patches: Rows<K>,
    /// The rows of the text that their patches replace.
    pub(super) text_rows: RowSelection<K>,
}

impl<K: Kernels> DeviceBatch<K> {
    /// Uploads a batch whose first token is at position `start` of a cached sequence: each of its segments attends to as
    /// many keys before its own.
    pub(super) fn new(kernels: &K, shape: &ModelShape, batch: &Batch, start: usize) -> DeviceBatch<K> {
        let bounds = batch.cumulative.windows(2).map(|pair| pair[0] as usize..pair[1] as usize);
        let segments: Vec<Segment> =
            bounds.map(|queries| Segment { keys: queries.start..queries.end + start, queries }).collect();
        let positions: Vec<u32> = batch.positions.iter().map(|position| position + start as u32).collect();
        let TextAngles { keys: angles, queries: query_angles } = positions::text(kernels, shape, &positions);
        DeviceBatch {
            ids: kernels.indices(&batch.ids),
            text: Rows {
                count: batch.tokens(),
                angles,
                query_angles,
                segments: kernels.segments(&segments),
                mask: Mask::Causal,
            },
            images: (!batch.images.is_empty()).then(|| DeviceImages::new(kernels, shape, batch)),
        }
    }
}

impl<K: Kernels> DeviceImages<K> {
    fn new(kernels: &K, shape: &ModelShape, batch: &Batch) -> DeviceImages<K> {
        let vision = &shape.vision;
        let segments: Vec<Segment> =
            patch_rows(&batch.images).map(|rows| Segment { queries: rows.clone(), keys: rows }).collect();
        DeviceImages {
            patches: Rows {
                count: batch.patches(),
                angles: positions::images(kernels, vision.rope_theta, vision.head_size, &batch.images),
                query_angles: None,
                segments: kernels.segments(&segments),
                mask: Mask::Full,
            },
            text_rows: RowSelection::new(kernels, &batch.image_rows),
        }
    }
}

/// The rows of each image's patches.
fn patch_rows(images: &[Image]) -> impl Iterator<Item = Range<usize>> {
    images.iter().scan(0, |end, image| {
        let start = *end;
        *end += image.patches();
        Some(start..*end)
    })
}
