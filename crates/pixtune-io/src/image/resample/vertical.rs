//! Mixing source rows into one row of floats, and rounding floats to bytes: plain loops that the compiler turns
//! into vector code, compiled a second time for AVX2.

/// Mixes the rows `row(0)`, `row(1)`, … with their weights.
pub(super) fn mix_rows<'a>(row: impl Fn(usize) -> &'a [u8], weights: &[f32], mixed: &mut [f32]) {
    if let [a, b, c, d] = *weights {
        mix_four([row(0), row(1), row(2), row(3)], [a, b, c, d], mixed);
        return;
    }
    mixed.fill(0.0);
    for (index, &weight) in weights.iter().enumerate() {
        add_row(row(index), weight, mixed);
    }
}

macro_rules! dispatched {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($argument: $kind),*) {
            #[inline(always)]
            fn portable($($argument: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                fn avx512($($argument: $kind),*) {
                    portable($($argument),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $kind),*) {
                    portable($($argument),*);
                }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
                    // SAFETY: the CPU supports these parts of AVX-512, and the first implies the foundation.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the CPU supports AVX2, the only feature that the function needs.
                    return unsafe { avx2($($argument),*) };
                }
            }
            portable($($argument),*);
        }
    };
}

dispatched! {
    /// Mixes four rows.
    fn mix_four(rows: [&[u8]; 4], weights: [f32; 4], mixed: &mut [f32]) {
        let [a, b, c, d] = rows.map(|row| &row[..mixed.len()]);
        for (x, to) in mixed.iter_mut().enumerate() {
            let left = f32::from(a[x]) * weights[0] + f32::from(b[x]) * weights[1];
            let right = f32::from(c[x]) * weights[2] + f32::from(d[x]) * weights[3];
            *to = left + right;
        }
    }
}

dispatched! {
    /// Adds one weighted row.
    fn add_row(row: &[u8], weight: f32, mixed: &mut [f32]) {
        for (to, &value) in mixed.iter_mut().zip(row) {
            *to += f32::from(value) * weight;
        }
    }
}

dispatched! {
    /// Rounds to the nearest byte, halves to the even one, and clamps.
    fn round_to_bytes(values: &[f32], bytes: &mut [u8]) {
        // Adding 1.5 * 2^23 leaves the rounded number in the low bits of the float.
        const ROUND: f32 = 12_582_912.0;
        for (to, &value) in bytes.iter_mut().zip(values) {
            *to = (value.clamp(0.0, 255.0) + ROUND).to_bits() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_and_clamps() {
        let mut bytes = [0; 10];
        round_to_bytes(&[-3.0, 0.49, 0.5, 1.5, 2.5, 254.51, 255.4, 300.0, 17.0, 0.50001], &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 2, 2, 255, 255, 255, 17, 1]);
    }
}
