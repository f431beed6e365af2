//! Run-length coding of BMP, at 8 or 4 bits per index.

/// Indices in file order, row by row; `None` when the data ends before the image does, be it by the code for
/// the end. As in Pillow 13.0.0, what an end of line or a jump leaves out has the index 0.
pub(super) fn unpack(data: &[u8], width: usize, height: usize, nibbles: bool) -> Option<Vec<u8>> {
    let len = width * height;
    let mut indices = Vec::with_capacity(len);
    let mut data = data.iter().copied();
    let mut x = 0;
    while indices.len() < len {
        let (count, value) = (usize::from(data.next()?), data.next()?);
        match (count, value) {
            (0, 0) => {
                let end = indices.len().div_ceil(width) * width;
                indices.resize(end, 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let (right, up) = (usize::from(data.next()?), usize::from(data.next()?));
                let end = (indices.len() + right + up * width).min(len);
                indices.resize(end, 0);
                x = end % width;
            }
            (0, literal) => {
                let literal = usize::from(literal);
                let bytes = if nibbles { literal.div_ceil(2) } else { literal };
                let start = indices.len();
                for _ in 0..bytes {
                    push(&mut indices, data.next()?, nibbles);
                }
                indices.truncate(start + literal);
                if bytes % 2 == 1 && indices.len() < len {
                    data.next()?;
                }
                x += literal;
            }
            (count, value) => {
                let run = count.min(width.saturating_sub(x));
                let pair = if nibbles { [value >> 4, value & 15] } else { [value; 2] };
                indices.extend(pair.into_iter().cycle().take(run));
                x += run;
            }
        }
    }
    indices.truncate(len);
    (indices.len() == len).then_some(indices)
}

fn push(indices: &mut Vec<u8>, byte: u8, nibbles: bool) {
    if nibbles {
        indices.extend([byte >> 4, byte & 15]);
    } else {
        indices.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_literals_jumps_and_ends() {
        let data = [2, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 2, 3, 0, 0, 1];
        assert_eq!(unpack(&data, 3, 3, false), Some(vec![7, 7, 0, 1, 2, 3, 0, 0, 0]));
        assert_eq!(unpack(&[3, 0x12, 0, 0, 0, 1], 4, 1, true), Some(vec![1, 2, 1, 0]));
        assert_eq!(unpack(&[0, 2, 1, 1, 1, 9, 0, 1], 2, 2, false), Some(vec![0, 0, 0, 9]));
        assert_eq!(unpack(&[2, 7], 3, 3, false), None);
        assert_eq!(unpack(&[2, 7, 0, 1], 3, 3, false), None);
    }

    /// A run with nothing left of its row adds nothing; the loop must still end with the data.
    #[test]
    fn endless_rows_end_with_the_data() {
        assert_eq!(unpack(&[255, 1, 255, 1, 255, 1], 2, 2, false), None);
    }
}
