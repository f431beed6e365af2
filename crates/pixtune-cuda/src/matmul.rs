//! Matrix multiplications, and the calls of cuBLASLt that compute them.
//!
//! cuBLASLt stores matrices column by column, this project row by row: the same memory is the transposed matrix, and
//! `C = A B` becomes `C^T = B^T A^T`. [`Product::matmul`] is that step, without a GPU, so that tests can prove it.

use crate::address::Address;
use crate::error::GpuError;

/// The type of the numbers of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// Single precision.
    F32,
    /// The upper half of single precision.
    Bf16,
}

impl Scalar {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Scalar::F32 => 4,
            Scalar::Bf16 => 2,
        }
    }
}

/// A matrix, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Its first number.
    pub address: Address,
    /// Numbers from row to row.
    pub stride: usize,
    /// The type of its numbers.
    pub scalar: Scalar,
    /// Whether the transposed matrix is the factor.
    pub is_transposed: bool,
}

impl Matrix {
    /// A matrix in bf16 whose rows are `stride` numbers apart.
    pub fn bf16(address: Address, stride: usize) -> Matrix {
        Matrix { address, stride, scalar: Scalar::Bf16, is_transposed: false }
    }

    /// The same in f32.
    pub fn f32(address: Address, stride: usize) -> Matrix {
        Matrix { scalar: Scalar::F32, ..Matrix::bf16(address, stride) }
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Matrix {
        Matrix { is_transposed: !self.is_transposed, ..self }
    }
}

/// `out = alpha * left right + beta * out`, of `[rows, inner]` and `[inner, columns]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// The length of the sums.
    pub inner: usize,
    /// The left factor.
    pub left: Matrix,
    /// The right factor.
    pub right: Matrix,
    /// The result, not transposed.
    pub out: Matrix,
    /// The factor of the product.
    pub alpha: f32,
    /// The factor of what is in `out`, which is not read if this is zero.
    pub beta: f32,
}

/// A matrix, column by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnMatrix {
    /// Its first number.
    pub address: Address,
    /// Numbers from column to column.
    pub leading: usize,
    /// The type of its numbers.
    pub scalar: Scalar,
    /// Whether the transposed matrix is the factor.
    pub is_transposed: bool,
}

/// A call of `cublasLtMatmul`: `d = alpha * op(a) op(b) + beta * d`, where `d` is `[rows, columns]`, column by column, with sums
/// in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matmul {
    /// Rows of `d`: `m`.
    pub rows: usize,
    /// Columns of `d`: `n`.
    pub columns: usize,
    /// The length of the sums: `k`.
    pub inner: usize,
    /// The first factor.
    pub a: ColumnMatrix,
    /// The second factor.
    pub b: ColumnMatrix,
    /// The result.
    pub d: ColumnMatrix,
    /// See [`Product::alpha`].
    pub alpha: f32,
    /// See [`Product::beta`].
    pub beta: f32,
}

impl Product {
    /// The call that computes this product.
    pub fn matmul(&self) -> Matmul {
        let by_column = |matrix: Matrix| ColumnMatrix {
            address: matrix.address,
            leading: matrix.stride,
            scalar: matrix.scalar,
            is_transposed: matrix.is_transposed,
        };
        Matmul {
            rows: self.columns,
            columns: self.rows,
            inner: self.inner,
            a: by_column(self.right),
            b: by_column(self.left),
            d: by_column(self.out),
            alpha: self.alpha,
            beta: self.beta,
        }
    }
}

impl Matmul {
    /// Rows and columns of the stored `a`, `b` and `d`.
    pub fn stored(&self) -> [(ColumnMatrix, [usize; 2]); 3] {
        let stored = |matrix: ColumnMatrix, rows, columns| match matrix.is_transposed {
            true => (matrix, [columns, rows]),
            false => (matrix, [rows, columns]),
        };
        [
            stored(self.a, self.rows, self.inner),
            stored(self.b, self.inner, self.columns),
            stored(self.d, self.rows, self.columns),
        ]
    }

    /// The address and the bytes of each matrix.
    pub fn ranges(&self) -> [(Address, usize); 3] {
        self.stored().map(|(matrix, [rows, columns])| {
            let numbers = matrix.leading * columns.saturating_sub(1) + rows;
            (matrix.address, numbers * matrix.scalar.bytes())
        })
    }

    /// Refuses what cuBLASLt does: empty matrices, sizes beyond 32 bits, overlapping columns, addresses that are not aligned to
    /// a number, and types that it does not combine (cuBLAS documentation, `cublasLtMatmul`, "supported types": with sums in f32,
    /// both factors have one type; factors in bf16 give bf16 or f32, those in f32 give f32).
    pub fn check(&self) -> Result<(), GpuError> {
        let refuse = |reason: &str| Err(GpuError::Matmul { message: format!("{reason}: {self:?}") });
        let sizes = [self.rows, self.columns, self.inner];
        if sizes.contains(&0) {
            return refuse("a matrix is empty");
        }
        if sizes.iter().any(|size| i32::try_from(*size).is_err()) {
            return refuse("a size is beyond 32 bits");
        }
        for (matrix, [rows, _]) in self.stored() {
            if matrix.leading < rows {
                return refuse("a leading dimension is too small");
            }
            if !matrix.address.0.is_multiple_of(matrix.scalar.bytes() as u64) {
                return refuse("a pointer is not aligned");
            }
        }
        if self.a.scalar != self.b.scalar {
            return refuse("the factors have different types");
        }
        if self.a.scalar == Scalar::F32 && self.d.scalar != Scalar::F32 {
            return refuse("factors in f32 give f32");
        }
        if self.d.is_transposed {
            return refuse("the result is transposed");
        }
        Ok(())
    }
}
