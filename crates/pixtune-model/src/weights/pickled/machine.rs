//! The instructions of a pickle that a dictionary of tensors needs.
//!
//! Containers live in one list and values refer to them by index, so that copying a value is cheap and memory is bounded by the
//! length of the program.

use std::rc::Rc;

use super::error::PickleError::{self, Damaged};
use super::error::shortened;
use super::program::{Bytes, Global};
use crate::weights::dtype::Dtype;

/// A tensor as the pickle describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickledTensor {
    /// Its key in the dictionary.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// The name of its storage, which may be that of many tensors.
    pub storage: Rc<str>,
    /// Its first element in the storage.
    pub offset: usize,
    /// Its sides.
    pub shape: Vec<usize>,
    /// Elements from one index of an axis to the next.
    pub strides: Vec<usize>,
}

/// Keys under which checkpoints of training programs keep the dictionary of the model.
const NESTED: [&str; 4] = ["module", "model", "state_dict", "model_state_dict"];

/// A value; containers are indices.
#[derive(Debug, Clone)]
enum Value {
    Mark,
    /// A value without meaning for tensors: `None`, a truth value, a float.
    Other,
    Whole(i64),
    Text(Rc<str>),
    Global(Global),
    List(usize),
    Dictionary(usize),
    Storage(Rc<(Dtype, Rc<str>)>),
    Tensor(Rc<Built>),
}

/// A tensor without a name.
#[derive(Debug)]
struct Built {
    dtype: Dtype,
    storage: Rc<str>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The machine: a stack, a memory of values, and the containers.
#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    memo: Vec<Value>,
    /// Tuples and lists.
    lists: Vec<Vec<Value>>,
    dictionaries: Vec<Vec<(Value, Value)>>,
}

/// Runs a pickle: the tensors of its dictionary, in order.
pub fn run(program: &[u8]) -> Result<Vec<PickledTensor>, PickleError> {
    let mut machine = Machine::default();
    let mut bytes = Bytes::new(program);
    while !machine.step(&mut bytes)? {}
    let result = machine.pop()?;
    machine.tensors(&result)
}

impl Machine {
    /// Executes one instruction; true after the last.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Result<bool, PickleError> {
        let code = bytes.byte()?;
        match code {
            b'.' => return Ok(true),
            // Protocol, frame.
            0x80 => _ = bytes.byte()?,
            0x95 => _ = bytes.take(8)?,
            b'(' => self.stack.push(Value::Mark),
            b'0' => _ = self.pop()?,
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'G' => {
                bytes.take(8)?;
                self.stack.push(Value::Other);
            }
            b'K' => self.whole(i64::from(bytes.byte()?)),
            b'M' => self.whole(bytes.number(2)? as i64),
            b'J' => self.whole(bytes.signed(4)?),
            0x8a => {
                let count = bytes.byte()?;
                self.whole(bytes.signed(usize::from(count))?);
            }
            0x8c => {
                let count = bytes.number(1)?;
                self.stack.push(Value::Text(bytes.text(count)?));
            }
            b'X' => {
                let count = bytes.number(4)?;
                self.stack.push(Value::Text(bytes.text(count)?));
            }
            b'c' => {
                let (module, name) = (bytes.line()?, bytes.line()?);
                self.stack.push(Value::Global(Global::of(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.stack.push(Value::Global(Global::of(&module, &name)?));
            }
            b'q' => self.memorize(bytes.number(1)?)?,
            b'r' => self.memorize(bytes.number(4)?)?,
            0x94 => self.memorize(self.memo.len())?,
            b'h' => self.recall(bytes.number(1)?)?,
            b'j' => self.recall(bytes.number(4)?)?,
            b')' | b']' => self.push_list(Vec::new()),
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or(Damaged)?;
                let items = self.stack.split_off(start);
                self.push_list(items);
            }
            b't' | b'l' => {
                let items = self.above_mark()?;
                self.push_list(items);
            }
            b'}' => self.push_dictionary(),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(items)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.stack.push(storage);
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = self.call(&function, &arguments)?;
                self.stack.push(result);
            }
            // Attributes of the dictionary, such as `_metadata`.
            b'b' => match (self.pop()?, self.stack.last()) {
                (Value::Dictionary(_), Some(Value::Dictionary(_))) => {}
                _ => return Err(PickleError::NotDictionary),
            },
            code => return Err(PickleError::Instruction { code }),
        }
        Ok(false)
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        self.stack.pop().filter(|value| !matches!(value, Value::Mark)).ok_or(Damaged)
    }

    fn pop_text(&mut self) -> Result<Rc<str>, PickleError> {
        match self.pop()? {
            Value::Text(text) => Ok(text),
            _ => Err(Damaged),
        }
    }

    fn whole(&mut self, number: i64) {
        self.stack.push(Value::Whole(number));
    }

    fn push_list(&mut self, items: Vec<Value>) {
        self.lists.push(items);
        self.stack.push(Value::List(self.lists.len() - 1));
    }

    fn push_dictionary(&mut self) {
        self.dictionaries.push(Vec::new());
        self.stack.push(Value::Dictionary(self.dictionaries.len() - 1));
    }

    /// Everything above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or(Damaged)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Indices follow each other, as Python writes them: a large one would only be for memory.
    fn memorize(&mut self, index: usize) -> Result<(), PickleError> {
        let value = self.stack.last().filter(|value| !matches!(value, Value::Mark)).ok_or(Damaged)?.clone();
        match index.cmp(&self.memo.len()) {
            std::cmp::Ordering::Less => self.memo[index] = value,
            std::cmp::Ordering::Equal => self.memo.push(value),
            std::cmp::Ordering::Greater => return Err(Damaged),
        }
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), PickleError> {
        let value = self.memo.get(index).ok_or(Damaged)?.clone();
        self.stack.push(value);
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        match self.stack.last() {
            Some(Value::List(list)) => self.lists[*list].extend(items),
            _ => return Err(Damaged),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let Some(Value::Dictionary(dictionary)) = self.stack.last() else { return Err(Damaged) };
        let pairs = items.as_chunks::<2>();
        if !pairs.1.is_empty() {
            return Err(Damaged);
        }
        let pairs = pairs.0.iter().map(|[key, value]| (key.clone(), value.clone()));
        self.dictionaries[*dictionary].extend(pairs);
        Ok(())
    }

    fn list(&self, value: &Value) -> Result<&[Value], PickleError> {
        match value {
            Value::List(list) => Ok(&self.lists[*list]),
            _ => Err(Damaged),
        }
    }

    /// `("storage", torch.FloatStorage, "0", "cpu", 1024)`
    fn storage(&self, id: &Value) -> Result<Value, PickleError> {
        match self.list(id)? {
            [Value::Text(kind), Value::Global(Global::Storage(dtype)), Value::Text(key), _, _]
                if &**kind == "storage" =>
            {
                Ok(Value::Storage(Rc::new((*dtype, key.clone()))))
            }
            _ => Err(Damaged),
        }
    }

    fn call(&mut self, function: &Value, arguments: &Value) -> Result<Value, PickleError> {
        let Value::Global(function) = function else { return Err(Damaged) };
        let arguments = self.list(arguments)?;
        match (function, arguments) {
            (Global::Dictionary, []) => {
                self.dictionaries.push(Vec::new());
                Ok(Value::Dictionary(self.dictionaries.len() - 1))
            }
            (Global::Tensor, [Value::Storage(storage), Value::Whole(offset), shape, strides, ..]) => {
                let built = Built {
                    dtype: storage.0,
                    storage: storage.1.clone(),
                    offset: usize::try_from(*offset).map_err(|_| Damaged)?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                Ok(Value::Tensor(Rc::new(built)))
            }
            (Global::Parameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            _ => Err(Damaged),
        }
    }

    fn sizes(&self, value: &Value) -> Result<Vec<usize>, PickleError> {
        // A memorized tuple may be the shape of many tensors; real ones have up to four sides.
        const MAX_SIDES: usize = 16;
        let sides = self.list(value)?;
        if sides.len() > MAX_SIDES {
            return Err(Damaged);
        }
        let size = |value: &Value| match value {
            Value::Whole(number) => usize::try_from(*number).map_err(|_| Damaged),
            _ => Err(Damaged),
        };
        sides.iter().map(size).collect()
    }

    /// The tensors of a dictionary, or of the one inside it that has the model.
    fn tensors(&self, value: &Value) -> Result<Vec<PickledTensor>, PickleError> {
        let Value::Dictionary(outer) = value else { return Err(PickleError::NotDictionary) };
        let outer = &self.dictionaries[*outer];
        let nested = outer.iter().find_map(|(key, value)| match (key, value) {
            (Value::Text(key), Value::Dictionary(inner)) if NESTED.contains(&&**key) => Some(*inner),
            _ => None,
        });
        let entries = nested.map_or(outer, |inner| &self.dictionaries[inner]);
        let mut names = std::collections::HashSet::new();
        let mut tensors = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::Text(name) = key else { return Err(PickleError::NotDictionary) };
            let Value::Tensor(built) = value else {
                return Err(PickleError::NotTensor { key: shortened(name) });
            };
            if !names.insert(name.clone()) {
                return Err(PickleError::Duplicate { key: shortened(name) });
            }
            tensors.push(PickledTensor {
                name: name.to_string(),
                dtype: built.dtype,
                storage: built.storage.clone(),
                offset: built.offset,
                shape: built.shape.clone(),
                strides: built.strides.clone(),
            });
        }
        Ok(tensors)
    }
}
