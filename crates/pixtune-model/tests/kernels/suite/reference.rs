//! The operations in double precision, straight from their definitions. Every gradient here is checked against finite
//! differences of its forward function.

use pixtune_model::kernels::{AdamW, AttentionShape, Mask, Segment};

/// `x W^T` for `x` of `[rows, inputs]` and `W` of `[outputs, inputs]`.
pub fn times_transposed(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
    x.chunks(inputs).flat_map(|x| w.chunks(inputs).map(move |w| dot(x, w))).collect()
}

/// `x W` for `x` of `[rows, inner]` and `W` of `[inner, columns]`.
pub fn times(x: &[f64], w: &[f64], inner: usize) -> Vec<f64> {
    times_transposed(x, &transposed(w, w.len() / inner), inner)
}

/// `x^T y` for `x` of `[rows, columns of the left]` and `y` of `[rows, columns of the right]`.
pub fn transposed_times(x: &[f64], y: &[f64], rows: usize) -> Vec<f64> {
    times(&transposed(x, x.len() / rows), y, rows)
}

fn transposed(x: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| x.iter().skip(column).step_by(columns)).copied().collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| x * factor).collect()
}

pub fn rms_norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let columns = weight.len();
    x.chunks(columns)
        .flat_map(|x| {
            let inverse = 1.0 / (dot(x, x) / columns as f64 + epsilon).sqrt();
            x.iter().zip(weight).map(move |(x, weight)| x * inverse * weight)
        })
        .collect()
}

/// With `r = 1 / sqrt(mean(x^2) + e)` and `g = dy w`: `dx = r g - x r^3 mean(g x)`.
pub fn rms_norm_backward(x: &[f64], weight: &[f64], dy: &[f64], epsilon: f64) -> Vec<f64> {
    let columns = weight.len();
    let rows = x.chunks(columns).zip(dy.chunks(columns));
    rows.flat_map(|(x, dy)| {
        let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, weight)| dy * weight).collect();
        let r = 1.0 / (dot(x, x) / columns as f64 + epsilon).sqrt();
        let mean = dot(&g, x) / columns as f64;
        x.iter().zip(g).map(|(x, g)| r * g - x * r.powi(3) * mean).collect::<Vec<_>>()
    })
    .collect()
}

/// `sum over rows of dy x r`, with `r` as above.
pub fn rms_norm_weight_backward(x: &[f64], dy: &[f64], columns: usize, epsilon: f64) -> Vec<f64> {
    let mut gradient = vec![0.0; columns];
    for (x, dy) in x.chunks(columns).zip(dy.chunks(columns)) {
        let r = 1.0 / (dot(x, x) / columns as f64 + epsilon).sqrt();
        gradient.iter_mut().zip(x).zip(dy).for_each(|((sum, x), dy)| *sum += dy * x * r);
    }
    gradient
}

/// The sum of each column.
pub fn column_sums(x: &[f64], columns: usize) -> Vec<f64> {
    transposed(x, columns).chunks(x.len() / columns).map(|column| column.iter().sum()).collect()
}

/// Rotates the pairs of each head by the angles of its row, `[rows, head_size / 2]`, times `sign`.
pub fn rope(x: &[f64], angles: &[f64], head_size: usize, sign: f64) -> Vec<f64> {
    let half = head_size / 2;
    let row_len = x.len() / (angles.len() / half);
    let mut out = x.to_vec();
    for (row, angles) in out.chunks_mut(row_len).zip(angles.chunks(half)) {
        for head in row.chunks_mut(head_size) {
            for (i, angle) in angles.iter().enumerate() {
                let (sine, cosine) = (sign * angle).sin_cos();
                let (low, high) = (head[i], head[i + half]);
                (head[i], head[i + half]) = (low * cosine - high * sine, high * cosine + low * sine);
            }
        }
    }
    out
}

pub fn swiglu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect()
}

/// The gradients of gate and up.
pub fn swiglu_backward(gate: &[f64], up: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let gradients = gate.iter().zip(up).zip(dy).map(|((gate, up), dy)| {
        let sigmoid = 1.0 / (1.0 + (-gate).exp());
        (dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)), dy * gate * sigmoid)
    });
    gradients.unzip()
}

pub fn gelu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))).collect()
}

pub fn gelu_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    let derivative = |x: &f64| {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
    };
    x.iter().zip(dy).map(|(x, dy)| dy * derivative(x)).collect()
}

/// The loss of each row of logits.
pub fn cross_entropy(logits: &[f64], targets: &[u32]) -> Vec<f64> {
    let rows = logits.chunks(logits.len() / targets.len());
    rows.zip(targets).map(|(logits, target)| log_sum_exp(logits) - logits[*target as usize]).collect()
}

/// The gradient of the summed losses with respect to the logits.
pub fn cross_entropy_backward(logits: &[f64], targets: &[u32]) -> Vec<f64> {
    let rows = logits.chunks(logits.len() / targets.len());
    rows.zip(targets)
        .flat_map(|(logits, target)| {
            let sum = log_sum_exp(logits);
            let hot = |index| if index == *target as usize { 1.0 } else { 0.0 };
            logits.iter().enumerate().map(move |(index, logit)| (logit - sum).exp() - hot(index))
        })
        .collect()
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + values.iter().map(|value| (value - max).exp()).sum::<f64>().ln()
}

/// Queries, keys and values of an attention.
#[derive(Clone)]
pub struct Attention<'a> {
    pub shape: AttentionShape,
    pub segments: &'a [Segment],
    pub queries: Vec<f64>,
    pub keys: Vec<f64>,
    pub values: Vec<f64>,
}

/// The softmax of one query in one head.
struct Softmax {
    /// Where the query and the output start.
    query: usize,
    /// Where the keys and values that it attends to start.
    keys: Vec<usize>,
    weights: Vec<f64>,
    log_sum_exp: f64,
    /// Index into `[heads, rows]`.
    statistic: usize,
}

impl Attention<'_> {
    fn scale(&self) -> f64 {
        1.0 / (self.shape.head_size as f64).sqrt()
    }

    fn softmaxes(&self) -> impl Iterator<Item = Softmax> + '_ {
        let AttentionShape { heads, .. } = self.shape;
        self.segments.iter().flat_map(move |segment| {
            segment
                .queries
                .clone()
                .flat_map(move |row| (0..heads).map(move |head| self.softmax(segment, row, head)))
        })
    }

    fn softmax(&self, segment: &Segment, row: usize, head: usize) -> Softmax {
        let AttentionShape { heads, key_value_heads, head_size, mask } = self.shape;
        let visible = match mask {
            Mask::Full => segment.keys.len(),
            Mask::Causal => segment.keys.len() - (segment.queries.end - 1 - row),
        };
        let key_head = head / (heads / key_value_heads);
        let query = (row * heads + head) * head_size;
        let rows = segment.keys.clone().take(visible);
        let keys: Vec<usize> = rows.map(|key| (key * key_value_heads + key_head) * head_size).collect();
        let score = |key: &usize| {
            self.scale() * dot(&self.queries[query..][..head_size], &self.keys[*key..][..head_size])
        };
        let scores: Vec<f64> = keys.iter().map(score).collect();
        let log_sum_exp = log_sum_exp(&scores);
        let weights = scores.iter().map(|score| (score - log_sum_exp).exp()).collect();
        let rows = self.queries.len() / (heads * head_size);
        Softmax { query, keys, weights, log_sum_exp, statistic: head * rows + row }
    }

    /// The output and the log-sum-exps.
    pub fn forward(&self) -> (Vec<f64>, Vec<f64>) {
        let size = self.shape.head_size;
        let mut out = vec![0.0; self.queries.len()];
        let mut statistics = vec![0.0; self.queries.len() / size];
        for softmax in self.softmaxes() {
            statistics[softmax.statistic] = softmax.log_sum_exp;
            for (key, weight) in softmax.keys.iter().zip(&softmax.weights) {
                for i in 0..size {
                    out[softmax.query + i] += weight * self.values[key + i];
                }
            }
        }
        (out, statistics)
    }

    /// With `P = softmax(S)`: `dV = P^T dO`, `dP = dO V^T`, `dS = P (dP - sum(P dP))`, `dQ = dS K`, `dK = dS^T Q`.
    pub fn backward(&self, dout: &[f64]) -> [Vec<f64>; 3] {
        let size = self.shape.head_size;
        let [mut dq, mut dk, mut dv] = [&self.queries, &self.keys, &self.values].map(|x| vec![0.0; x.len()]);
        for Softmax { query, keys, weights, .. } in self.softmaxes() {
            let dout = &dout[query..][..size];
            let dp: Vec<f64> = keys.iter().map(|key| dot(dout, &self.values[*key..][..size])).collect();
            let mean = dot(&weights, &dp);
            for ((key, weight), dp) in keys.iter().zip(&weights).zip(dp) {
                let ds = weight * (dp - mean) * self.scale();
                for i in 0..size {
                    dv[key + i] += weight * dout[i];
                    dq[query + i] += ds * self.keys[key + i];
                    dk[key + i] += ds * self.queries[query + i];
                }
            }
        }
        [dq, dk, dv]
    }
}

/// The state of AdamW.
pub struct Optimizer {
    pub parameters: Vec<f64>,
    pub first: Vec<f64>,
    pub second: Vec<f64>,
}

impl Optimizer {
    /// One step, the `steps`-th, with weight decay of the first `decayed` numbers.
    pub fn step(&mut self, settings: &AdamW, steps: i32, gradients: &[f64], decayed: usize) {
        let AdamW { learning_rate, beta1, beta2, epsilon, weight_decay } = *settings;
        let state = self.parameters.iter_mut().zip(&mut self.first).zip(&mut self.second);
        for (index, (((parameter, first), second), gradient)) in state.zip(gradients).enumerate() {
            let weight_decay = if index < decayed { weight_decay } else { 0.0 };
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            let (mean, square) = (*first / (1.0 - beta1.powi(steps)), *second / (1.0 - beta2.powi(steps)));
            *parameter -= learning_rate * (weight_decay * *parameter + mean / (square.sqrt() + epsilon));
        }
    }
}

mod finite_differences {
    use super::super::harness::{random, wide};
    use super::*;

    fn numbers(seed: u32, len: usize) -> Vec<f64> {
        wide(&random(seed, len))
    }

    /// With the loss `sum(weights * forward(inputs))`: the gradient that `backward` returns for each input, along a random
    /// direction, is the slope of the loss along it.
    #[track_caller]
    fn check(
        inputs: &[Vec<f64>],
        forward: impl Fn(&[Vec<f64>]) -> Vec<f64>,
        backward: impl Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<f64>>,
    ) {
        let weights = numbers(99, forward(inputs).len());
        let gradients = backward(inputs, &weights);
        assert_eq!(gradients.len(), inputs.len());
        for (index, gradient) in gradients.iter().enumerate() {
            let direction = numbers(7 + index as u32, gradient.len());
            let loss_at = |step: f64| {
                let mut moved = inputs.to_vec();
                moved[index].iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
                dot(&forward(&moved), &weights)
            };
            let slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
            let expected = dot(gradient, &direction);
            let size = dot(gradient, gradient).sqrt();
            assert!(
                (slope - expected).abs() < 1e-7 * size,
                "input {index}: slope {slope}, gradient {expected}"
            );
            assert!(gradient.iter().any(|g| *g != 0.0), "input {index} has no gradient");
        }
    }

    #[test]
    fn rms_norm_gradients_are_the_slopes() {
        check(
            &[numbers(2, 5 * 37), numbers(1, 37)],
            |inputs| rms_norm(&inputs[0], &inputs[1], 1e-5),
            |inputs, dy| {
                let x = rms_norm_backward(&inputs[0], &inputs[1], dy, 1e-5);
                vec![x, rms_norm_weight_backward(&inputs[0], dy, 37, 1e-5)]
            },
        );
    }

    #[test]
    fn matrix_product_gradients_are_the_slopes() {
        check(
            &[numbers(3, 6 * 9), numbers(4, 11 * 9)],
            |inputs| times_transposed(&inputs[0], &inputs[1], 9),
            |inputs, dy| vec![times(dy, &inputs[1], 11), transposed_times(dy, &inputs[0], 6)],
        );
    }

    #[test]
    fn rope_gradient_is_the_slope() {
        let angles = scaled(&numbers(9, 4 * 3), 5.0);
        check(
            &[numbers(10, 4 * 2 * 6)],
            |inputs| rope(&inputs[0], &angles, 6, 1.0),
            |_, dy| vec![rope(dy, &angles, 6, -1.0)],
        );
    }

    #[test]
    fn swiglu_gradients_are_the_slopes() {
        check(
            &[scaled(&numbers(11, 300), 4.0), numbers(12, 300)],
            |inputs| swiglu(&inputs[0], &inputs[1]),
            |inputs, dy| {
                let (gate, up) = swiglu_backward(&inputs[0], &inputs[1], dy);
                vec![gate, up]
            },
        );
    }

    #[test]
    fn gelu_gradient_is_the_slope() {
        check(
            &[scaled(&numbers(13, 300), 4.0)],
            |inputs| gelu(&inputs[0]),
            |inputs, dy| vec![gelu_backward(&inputs[0], dy)],
        );
    }

    #[test]
    fn cross_entropy_gradient_is_the_slope() {
        let targets: Vec<u32> = (0..20).map(|row| row * 13 % 50).collect();
        check(
            &[scaled(&numbers(15, 20 * 50), 4.0)],
            |inputs| vec![cross_entropy(&inputs[0], &targets).iter().sum()],
            |inputs, weights| vec![scaled(&cross_entropy_backward(&inputs[0], &targets), weights[0])],
        );
    }

    #[test]
    fn attention_gradients_are_the_slopes() {
        let segments = [0..1, 1..20, 20..33].map(|rows| Segment { queries: rows.clone(), keys: rows });
        for mask in [Mask::Full, Mask::Causal] {
            let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size: 6, mask };
            let attention = |inputs: &[Vec<f64>]| Attention {
                shape,
                segments: &segments,
                queries: inputs[0].clone(),
                keys: inputs[1].clone(),
                values: inputs[2].clone(),
            };
            check(
                &[scaled(&numbers(16, 33 * 24), 3.0), numbers(17, 33 * 12), numbers(18, 33 * 12)],
                |inputs| attention(inputs).forward().0,
                |inputs, dout| attention(inputs).backward(dout).to_vec(),
            );
        }
    }
}
