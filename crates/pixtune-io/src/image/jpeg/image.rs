//! What is known of an image while its segments are read.

use super::Header;
use super::error::JpegError;
use super::frame::{Frame, Process};
use super::idct::{Coefficients, steps_in_block_order};
use super::markers::{Scan, Tables, Walker, parse_frame};
use super::planes::{Color, Plane, Planes};

/// The segments read so far.
pub(super) struct Image {
    pub(super) tables: Tables,
    frame: Option<Frame>,
    /// For each component, the steps that were valid at its first scan.
    pub(super) steps: [Option<Coefficients>; 4],
}

impl Image {
    pub(super) fn new() -> Self {
        Self { tables: Tables::new(), frame: None, steps: [None; 4] }
    }

    pub(super) fn learn(&mut self, walker: &Walker<'_>, marker: u8, body: &[u8]) -> Result<(), JpegError> {
        self.tables.learn(marker, body).map_err(|what| walker.corrupt(what))
    }

    pub(super) fn start(&mut self, walker: &Walker<'_>, marker: u8, body: &[u8]) -> Result<(), JpegError> {
        if self.frame.is_some() {
            return Err(walker.corrupt("a second frame"));
        }
        let frame = parse_frame(marker, body, walker.at)?;
        if frame.process == Process::Sequential {
            self.tables.assume_codes();
        }
        self.frame = Some(frame);
        Ok(())
    }

    pub(super) fn frame(&self, walker: &Walker<'_>) -> Result<&Frame, JpegError> {
        self.frame.as_ref().ok_or_else(|| walker.corrupt("no frame header"))
    }

    pub(super) fn header(&self, frame: &Frame) -> Header {
        Header {
            width: frame.size.0,
            height: frame.size.1,
            color: self.color(frame),
            progressive: frame.process == Process::Progressive,
            subsampling: frame.components.iter().map(|component| frame.ratio(component)).collect(),
        }
    }

    /// What the components mean, by the rules of libjpeg: JFIF, then Adobe, then the component ids.
    fn color(&self, frame: &Frame) -> Color {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.len(), self.tables.adobe) {
            (1, _) => Color::Gray,
            (4, None | Some(0)) => Color::Cmyk,
            (4, Some(_)) => Color::Ycck,
            _ if self.tables.jfif => Color::YCbCr,
            (_, Some(0)) => Color::Rgb,
            (_, Some(_)) => Color::YCbCr,
            (_, None) if ids == *b"RGB" => Color::Rgb,
            (_, None) => Color::YCbCr,
        }
    }

    /// Gives the planes their sizes. Samples are not cleared: a scan writes them all.
    pub(super) fn shape(&self, planes: &mut Planes) {
        let Some(frame) = &self.frame else { return };
        (planes.width, planes.height) = (frame.size.0 as usize, frame.size.1 as usize);
        planes.color = self.color(frame);
        planes.planes.resize_with(frame.components.len(), Plane::default);
        for (plane, component) in planes.planes.iter_mut().zip(&frame.components) {
            let (size, blocks) = (frame.component_size(component), frame.padded_blocks(component));
            (plane.width, plane.height) = (size.0 as usize, size.1 as usize);
            plane.ratio = frame.ratio(component);
            plane.stride = blocks.0 as usize * 8;
            // Those of a progressive image are made at its end, when its coefficients can go.
            if frame.process == Process::Sequential {
                plane.samples.resize(plane.stride * blocks.1 as usize * 8, 0);
            }
        }
    }

    pub(super) fn latch_steps(&mut self, walker: &Walker<'_>, scan: &Scan) -> Result<(), JpegError> {
        for &(index, ..) in &scan.components {
            let number = self.frame(walker)?.components[index].steps;
            let steps = self.tables.steps.get(usize::from(number)).and_then(Option::as_ref);
            let steps = steps.ok_or_else(|| walker.corrupt("no quantization table for a component"))?;
            self.steps[index].get_or_insert_with(|| steps_in_block_order(steps));
        }
        Ok(())
    }
}
