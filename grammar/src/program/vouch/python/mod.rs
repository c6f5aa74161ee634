//! Python programs that only compute, read standard input, print, and open files whose names stand in them.
//!
//! The argument: every value that such a program can get hold of is harmless, because all names are its own or listed
//! in `names.rs`, modules are never values, and attributes have listed names that do no harm on any such value. What
//! decides about that is checked here; whether the program is valid is left to Python, which compiles all of it before
//! it runs any. Indentation changes nothing of what is said here and is not looked at.

mod names;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_CODE, MAX_NESTING, Touched};
use crate::inventory::EffectKind;
use names::{ATTRIBUTES, BUILTINS, FILE_FUNCTIONS, KEYWORDS, NOT_ALLOWED};
use token::{Text, Token};

/// Modules of Python's own library, one a line.
const OWN_MODULES: &str = include_str!("modules.txt");

/// Whether Python would load a directory entry of this name, or a package in it, in the place of a module of its own.
pub(crate) fn shadows(entry: &str) -> bool {
    let (stem, rest) = entry.split_once('.').unwrap_or((entry, ""));
    let code = rest.is_empty() || rest.ends_with("py") || rest.ends_with("pyc") || rest.ends_with("so");
    code && OWN_MODULES.lines().any(|name| name == stem)
}

/// What a harmless program does to files. `None` if it is not vouched for.
pub(crate) fn python(code: &str) -> Option<Vec<Touched>> {
    if code.len() > MAX_CODE {
        return None;
    }
    let mut facts = Facts::default();
    program(code, &mut facts)?;
    facts.settle()
}

/// What has been seen of a program.
#[derive(Default)]
struct Facts {
    /// Names that are read.
    used: BTreeSet<String>,
    /// Names that the program gives a value.
    bound: BTreeSet<String>,
    /// Names from `from … import`: values of listed attributes, whatever they are called.
    imported: BTreeSet<String>,
    /// Modules, by the name that they have here.
    modules: BTreeMap<String, String>,
    /// `p = Path("literal")`: names that can only be a path.
    paths: BTreeMap<String, String>,
    touched: Vec<Touched>,
    /// `sys.path` is looked at, which must then not change before the next import.
    search_path: bool,
    /// Something may change a list.
    changes: bool,
    depth: usize,
}

impl Facts {
    fn settle(self) -> Option<Vec<Touched>> {
        let special = |name: &String| self.modules.contains_key(name) || self.paths.contains_key(name);
        let known = |name: &String| {
            self.bound.contains(name) || self.imported.contains(name) || BUILTINS.contains(&name.as_str())
        };
        let rebound = |name: &String| special(name) || BUILTINS.contains(&name.as_str()) || hazardous(name);
        let ok = !self.bound.iter().any(rebound)
            && !self.imported.iter().any(|name| special(name) || hazardous(name))
            && !self.paths.keys().any(|name| self.modules.contains_key(name) || rebuilt(name))
            && !self.modules.keys().any(|name| rebuilt(name))
            && self.used.iter().all(|name| known(name) && !special(name))
            && !(self.search_path && (self.changes || !self.imported.is_empty()));
        ok.then_some(self.touched)
    }

    fn bind(&mut self, name: &str) {
        self.bound.insert(name.to_owned());
    }
}

fn rebuilt(name: &str) -> bool {
    BUILTINS.contains(&name) || hazardous(name)
}

/// A builtin that is not vouched for, or a name with a meaning of its own.
fn hazardous(name: &str) -> bool {
    NOT_ALLOWED.contains(&name) || name.starts_with("__")
}

fn program(code: &str, facts: &mut Facts) -> Option<()> {
    for line in token::lines(code)? {
        let mut parser = Parser { tokens: &line, at: 0, facts };
        parser.line()?;
        parser.end()?;
    }
    Some(())
}

/// What an expression is, as far as it matters to what stands around it.
#[derive(Clone, Debug)]
enum Shape {
    /// A name and nothing else: it can be bound.
    Name(String),
    /// Several targets, or one in brackets.
    Group(Vec<Shape>),
    Subscript,
    /// A module or a part of one, by its full name; it must be followed by an attribute.
    Module(String),
    /// A listed function of a module.
    Function(String),
    /// A literal string of one part.
    Text(Text),
    /// A path whose name is literal.
    Path(String),
    Value,
}

struct Parser<'t, 'f> {
    tokens: &'t [Token],
    at: usize,
    facts: &'f mut Facts,
}

impl Parser<'_, '_> {
    // ---------- statements ------------------------------------------------------------------------------------------

    fn line(&mut self) -> Option<()> {
        match self.peek_name() {
            Some("if" | "elif" | "while") => {
                self.next();
                self.expression()?;
                self.block()
            }
            Some("else" | "try" | "finally") => {
                self.next();
                self.block()
            }
            Some("for") => {
                self.next();
                self.for_targets()?;
                self.expressions()?;
                self.block()
            }
            Some("with") => {
                self.next();
                self.with_items()?;
                self.block()
            }
            Some("def") => {
                self.next();
                let name = self.identifier()?;
                self.facts.bind(&name);
                self.facts.changes = true;
                self.op("(")?;
                self.parameters(")")?;
                if self.take("->") {
                    self.expression()?;
                }
                self.block()
            }
            Some("except") => {
                self.next();
                if !self.is(":") {
                    self.expression()?;
                    if self.take_name("as") {
                        let name = self.identifier()?;
                        self.facts.bind(&name);
                    }
                }
                self.block()
            }
            _ => self.statements(),
        }
    }

    /// `:` and, perhaps, statements on the same line.
    fn block(&mut self) -> Option<()> {
        self.op(":")?;
        if self.at == self.tokens.len() { Some(()) } else { self.statements() }
    }

    fn statements(&mut self) -> Option<()> {
        loop {
            self.statement()?;
            if !self.take(";") || self.at == self.tokens.len() {
                return Some(());
            }
        }
    }

    fn statement(&mut self) -> Option<()> {
        if self.path_binding() {
            return Some(());
        }
        match self.peek_name() {
            Some("pass" | "break" | "continue") => {
                self.next();
                Some(())
            }
            Some("import") => {
                self.next();
                self.import()
            }
            Some("from") => {
                self.next();
                self.import_from()
            }
            Some("return") => {
                self.next();
                if self.statement_ends() { Some(()) } else { self.expressions().map(drop) }
            }
            Some("raise") => {
                self.next();
                if self.statement_ends() {
                    return Some(());
                }
                self.expression()?;
                if self.take_name("from") { self.expression().map(drop) } else { Some(()) }
            }
            Some("assert") => {
                self.next();
                self.expressions().map(drop)
            }
            Some("del") => {
                self.next();
                self.facts.changes = true;
                let targets = self.expressions()?;
                self.assign(targets)
            }
            Some("global" | "nonlocal") => {
                self.next();
                loop {
                    self.identifier()?;
                    if !self.take(",") {
                        return Some(());
                    }
                }
            }
            _ => self.assignment(),
        }
    }

    fn statement_ends(&self) -> bool {
        self.at == self.tokens.len() || self.is(";")
    }

    /// `p = Path("literal")`, alone.
    fn path_binding(&mut self) -> bool {
        let Some(Token::Name(name)) = self.tokens.get(self.at).cloned() else { return false };
        let mut look = Parser { tokens: self.tokens, at: self.at + 1, facts: &mut Facts::default() };
        look.facts.modules.clone_from(&self.facts.modules);
        look.facts.imported.clone_from(&self.facts.imported);
        let found = look.take("=").then(|| look.primary()).flatten();
        let Some(Shape::Path(path)) = found else { return false };
        if !look.statement_ends() || self.facts.paths.get(&name).is_some_and(|known| *known != path) {
            return false;
        }
        self.at = look.at;
        self.facts.paths.insert(name, path);
        true
    }

    /// An expression, or one with targets before it.
    fn assignment(&mut self) -> Option<()> {
        let mut shape = self.expressions()?;
        if self.take(":") {
            let Shape::Name(name) = shape else { return None };
            self.facts.bind(&name);
            self.expression()?;
            return if self.take("=") { self.expressions().map(drop) } else { Some(()) };
        }
        if let Some(Token::Op(op)) = self.tokens.get(self.at)
            && op.len() > 1
            && op.ends_with('=')
            && !matches!(*op, "==" | "!=" | "<=" | ">=" | ":=")
        {
            self.at += 1;
            self.facts.changes = true;
            if !matches!(shape, Shape::Name(_) | Shape::Subscript) {
                return None;
            }
            self.assign(shape)?;
            return self.expressions().map(drop);
        }
        while self.take("=") {
            self.facts.changes |= !matches!(shape, Shape::Name(_));
            self.assign(shape)?;
            shape = self.expressions()?;
        }
        Some(())
    }

    fn assign(&mut self, target: Shape) -> Option<()> {
        match target {
            Shape::Name(name) => self.facts.bind(&name),
            Shape::Subscript => self.facts.changes = true,
            Shape::Group(targets) => return targets.into_iter().try_for_each(|target| self.assign(target)),
            _ => return None,
        }
        Some(())
    }

    fn for_targets(&mut self) -> Option<()> {
        let targets = self.list(|parser| parser.operands(false))?;
        self.assign(targets)?;
        self.name("in")
    }

    fn with_items(&mut self) -> Option<()> {
        loop {
            self.expression()?;
            if self.take_name("as") {
                let target = self.operand()?;
                self.assign(target)?;
            }
            if !self.take(",") {
                return Some(());
            }
        }
    }

    fn parameters(&mut self, end: &str) -> Option<()> {
        while !self.is(end) {
            let star = self.take("*") || self.take("**");
            if !(star && (self.is(",") || self.is(end)) || self.take("/")) {
                let name = self.identifier()?;
                self.facts.bind(&name);
                if end == ")" && self.take(":") {
                    self.expression()?;
                }
                if self.take("=") {
                    self.expression()?;
                }
            }
            if !self.take(",") {
                break;
            }
        }
        self.op(end)
    }

    // ---------- imports ---------------------------------------------------------------------------------------------

    fn import(&mut self) -> Option<()> {
        loop {
            let module = self.dotted()?;
            if !names::is_module(&module) {
                return None;
            }
            let first = module.split('.').next().unwrap_or_default().to_owned();
            let (name, meant) = match self.take_name("as") {
                true => (self.identifier()?, module),
                false => (first.clone(), first),
            };
            self.module(name, meant)?;
            if !self.take(",") {
                return Some(());
            }
        }
    }

    /// One name stands for one module.
    fn module(&mut self, name: String, module: String) -> Option<()> {
        let known = self.facts.modules.entry(name).or_insert_with(|| module.clone());
        (*known == module).then_some(())
    }

    fn import_from(&mut self) -> Option<()> {
        let module = self.dotted()?;
        if !names::is_module(&module) {
            return None;
        }
        self.name("import")?;
        let brackets = self.take("(");
        loop {
            let name = self.identifier()?;
            let local = if self.take_name("as") { self.identifier()? } else { name.clone() };
            let full = format!("{module}.{name}");
            if names::is_module(&full) || full == "pathlib.Path" {
                self.module(local, full)?;
            } else if names::module_has(&module, &name) && full != "sys.path" && !file_function(&full) {
                self.facts.imported.insert(local);
            } else {
                return None;
            }
            if !self.take(",") || brackets && self.is(")") {
                return if brackets { self.op(")") } else { Some(()) };
            }
        }
    }

    fn dotted(&mut self) -> Option<String> {
        let mut whole = self.identifier()?;
        while self.take(".") {
            whole = format!("{whole}.{}", self.identifier()?);
        }
        Some(whole)
    }

    // ---------- expressions -----------------------------------------------------------------------------------------

    /// Expressions with commas between them, stars allowed.
    fn expressions(&mut self) -> Option<Shape> {
        self.list(Self::expression)
    }

    fn list(&mut self, item: fn(&mut Self) -> Option<Shape>) -> Option<Shape> {
        self.take("*");
        let first = item(self)?;
        if !self.is(",") {
            return Some(first);
        }
        let mut items = vec![first];
        while self.take(",") {
            if self.list_ends() {
                break;
            }
            self.take("*");
            items.push(item(self)?);
        }
        Some(Shape::Group(items))
    }

    fn list_ends(&self) -> bool {
        match self.tokens.get(self.at) {
            None => true,
            Some(Token::Op(op)) => matches!(*op, ")" | "]" | "}" | "=" | ":" | ";"),
            Some(Token::Name(name)) => name == "in",
            Some(_) => false,
        }
    }

    /// With `lambda`, `yield`, `:=` and `if … else`.
    fn expression(&mut self) -> Option<Shape> {
        self.nested(Self::expression_inside)
    }

    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.facts.depth >= MAX_NESTING {
            return None;
        }
        self.facts.depth += 1;
        let inner = inside(self);
        self.facts.depth -= 1;
        inner
    }

    fn expression_inside(&mut self) -> Option<Shape> {
        if self.take_name("lambda") {
            self.facts.changes = true;
            self.parameters(":")?;
            self.expression()?;
            return Some(Shape::Value);
        }
        if self.take_name("yield") {
            if self.take_name("from") || !(self.list_ends()) {
                self.expressions()?;
            }
            return Some(Shape::Value);
        }
        let shape = self.operands(true)?;
        if self.take(":=") {
            let Shape::Name(name) = shape else { return None };
            self.facts.bind(&name);
            self.expression()?;
            return Some(Shape::Value);
        }
        if self.take_name("if") {
            self.operands(true)?;
            self.name("else")?;
            self.expression()?;
            return Some(Shape::Value);
        }
        Some(shape)
    }

    /// Operands with operators between them; precedence is of no interest here.
    fn operands(&mut self, membership: bool) -> Option<Shape> {
        let mut shape = self.operand()?;
        while self.operator(membership) {
            self.operand()?;
            shape = Shape::Value;
        }
        Some(shape)
    }

    fn operator(&mut self, membership: bool) -> bool {
        const OPERATORS: [&str; 19] =
            ["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "==", "!="];
        match self.tokens.get(self.at) {
            Some(Token::Op(op)) if OPERATORS.contains(op) => self.next(),
            Some(Token::Name(name)) => match name.as_str() {
                "and" | "or" => self.next(),
                "in" if membership => self.next(),
                "is" => {
                    self.next();
                    self.take_name("not");
                }
                "not" if membership => {
                    self.next();
                    return self.take_name("in");
                }
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    fn operand(&mut self) -> Option<Shape> {
        let mut bare = true;
        while self.take("-") || self.take("+") || self.take("~") || self.take_name("not") {
            bare = false;
        }
        let shape = self.primary()?;
        match shape {
            // Only with an attribute, a call or a method behind them are these what is vouched for.
            Shape::Module(_) | Shape::Path(_) => None,
            Shape::Function(name) if name == "type" || file_function(&name) => None,
            Shape::Function(_) | Shape::Text(_) => Some(Shape::Value),
            shape if bare => Some(shape),
            _ => Some(Shape::Value),
        }
    }

    fn primary(&mut self) -> Option<Shape> {
        let mut shape = self.nested(Self::atom)?;
        loop {
            if self.take(".") {
                let name = self.identifier()?;
                shape = self.attribute(shape, &name)?;
            } else if self.take("(") {
                shape = self.call(shape)?;
            } else if self.take("[") {
                if matches!(shape, Shape::Module(_) | Shape::Path(_)) {
                    return None;
                }
                self.subscript()?;
                shape = Shape::Subscript;
            } else {
                return Some(shape);
            }
        }
    }

    fn attribute(&mut self, shape: Shape, name: &str) -> Option<Shape> {
        match shape {
            Shape::Module(module) => {
                let full = format!("{module}.{name}");
                if full == "sys.path" {
                    self.facts.search_path = true;
                    return Some(Shape::Value);
                }
                let module_or_class = names::is_module(&full) || full == "pathlib.Path";
                match module_or_class {
                    true => Some(Shape::Module(full)),
                    false => names::module_has(&module, name).then_some(Shape::Function(full)),
                }
            }
            Shape::Path(path) => {
                let kind = match name {
                    "read_text" | "read_bytes" | "exists" | "is_file" | "is_dir" | "stat" => EffectKind::Read,
                    "write_text" | "write_bytes" | "touch" => EffectKind::Write,
                    "name" | "stem" | "suffix" => return Some(Shape::Value),
                    _ => return None,
                };
                self.facts.touched.push((kind, path));
                self.is("(").then_some(Shape::Value)
            }
            Shape::Text(text) if name == "format" => (text.plain_format() && self.is("(")).then_some(Shape::Value),
            _ if ATTRIBUTES.contains(&name) => {
                self.facts.changes |= names::CHANGES.contains(&name);
                Some(Shape::Value)
            }
            _ => None,
        }
    }

    fn call(&mut self, shape: Shape) -> Option<Shape> {
        match shape {
            Shape::Module(name) if name == "pathlib.Path" => {
                let path = self.literal()?;
                self.op(")")?;
                return Some(Shape::Path(path));
            }
            Shape::Module(_) | Shape::Path(_) => return None,
            Shape::Function(name) if name == "open" => return self.open(),
            Shape::Function(name) if file_function(&name) => {
                let path = self.literal()?;
                self.op(")")?;
                self.facts.touched.push((EffectKind::Read, path));
                return Some(Shape::Value);
            }
            // With three arguments it makes a class.
            Shape::Function(name) if name == "type" => {
                self.expression()?;
                self.op(")")?;
                return Some(Shape::Value);
            }
            Shape::Function(name) => self.facts.changes |= name.contains('.'),
            _ => {}
        }
        self.arguments()?;
        Some(Shape::Value)
    }

    /// `open` with the file's name, its mode, and what becomes of its text.
    fn open(&mut self) -> Option<Shape> {
        let path = self.literal()?;
        let mut mode = "r".to_owned();
        while self.take(",") {
            if let Some(Token::Text(_)) = self.tokens.get(self.at) {
                mode = self.literal()?;
                continue;
            }
            let keyword = self.identifier()?;
            self.op("=")?;
            match keyword.as_str() {
                "mode" => mode = self.literal()?,
                "encoding" | "errors" | "newline" => _ = self.literal()?,
                _ => return None,
            }
        }
        self.op(")")?;
        let kinds: &[EffectKind] = match mode.trim_end_matches(['b', 't']) {
            "r" => &[EffectKind::Read],
            "w" | "a" | "x" => &[EffectKind::Write],
            "r+" | "w+" | "a+" | "rb+" | "wb+" | "ab+" => &[EffectKind::Read, EffectKind::Write],
            _ => return None,
        };
        self.facts.touched.extend(kinds.iter().map(|kind| (*kind, path.clone())));
        Some(Shape::Value)
    }

    /// One string that says what it looks like.
    fn literal(&mut self) -> Option<String> {
        let Some(Token::Text(text)) = self.tokens.get(self.at) else { return None };
        let text = text.exact()?.to_owned();
        self.at += 1;
        let ends = self.is(")") || self.is(",");
        (ends && !text.is_empty()).then_some(text)
    }

    fn arguments(&mut self) -> Option<()> {
        while !self.is(")") {
            if !(self.take("*") || self.take("**")) && self.keyword_argument() {
                self.at += 2;
            }
            self.expression()?;
            self.comprehension()?;
            if !self.take(",") {
                break;
            }
        }
        self.op(")")
    }

    fn keyword_argument(&self) -> bool {
        let name = matches!(self.tokens.get(self.at), Some(Token::Name(_)));
        name && self.tokens.get(self.at + 1) == Some(&Token::Op("="))
    }

    fn subscript(&mut self) -> Option<()> {
        while !self.is("]") {
            self.take("*");
            if !self.is(":") && !self.is(",") {
                self.expression()?;
            }
            if !self.take(":") && !self.take(",") {
                break;
            }
        }
        self.op("]")
    }

    /// `for x in y if z`, any number of them.
    fn comprehension(&mut self) -> Option<()> {
        while self.take_name("for") {
            self.for_targets()?;
            self.operands(true)?;
            while self.take_name("if") {
                self.operands(true)?;
                if self.take(":=") {
                    return None;
                }
            }
        }
        Some(())
    }

    fn atom(&mut self) -> Option<Shape> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        match token {
            Token::Number => Some(Shape::Value),
            Token::Text(text) => self.strings(text),
            Token::Op("(") => self.brackets(")"),
            Token::Op("[") => self.brackets("]"),
            Token::Op("{") => self.braces(),
            Token::Op("...") => Some(Shape::Value),
            Token::Op(_) => None,
            Token::Name(name) => self.named(name),
        }
    }

    fn strings(&mut self, first: Text) -> Option<Shape> {
        self.fields(&first)?;
        let mut one = Some(first);
        while let Some(Token::Text(text)) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            self.fields(&text)?;
            one = None;
        }
        Some(one.map_or(Shape::Value, Shape::Text))
    }

    /// The expressions inside an f-string.
    fn fields(&mut self, text: &Text) -> Option<()> {
        for field in text.fields()? {
            let lines = token::lines(&field)?;
            let [line] = lines.as_slice() else { return None };
            let mut inner = Parser { tokens: line, at: 0, facts: &mut *self.facts };
            inner.nested(|parser| parser.expressions())?;
            inner.end()?;
        }
        Some(())
    }

    fn brackets(&mut self, end: &str) -> Option<Shape> {
        if self.take(end) {
            return Some(Shape::Group(Vec::new()));
        }
        let inside = self.expressions()?;
        if self.is_name("for") {
            self.comprehension()?;
            self.op(end)?;
            return Some(Shape::Value);
        }
        self.op(end)?;
        Some(Shape::Group(vec![inside]))
    }

    fn braces(&mut self) -> Option<Shape> {
        while !self.is("}") {
            if !self.take("**") {
                self.take("*");
                self.expression()?;
                if self.take(":") {
                    self.expression()?;
                }
                self.comprehension()?;
            } else {
                self.operands(true)?;
            }
            if !self.take(",") {
                break;
            }
        }
        self.op("}")?;
        Some(Shape::Value)
    }

    fn named(&mut self, name: String) -> Option<Shape> {
        match name.as_str() {
            "True" | "False" | "None" | "__name__" => return Some(Shape::Value),
            "open" | "type" => return self.is("(").then_some(Shape::Function(name)),
            _ => {}
        }
        if KEYWORDS.contains(&name.as_str()) {
            return None;
        }
        if let Some(module) = self.facts.modules.get(&name) {
            return Some(Shape::Module(module.clone()));
        }
        if let Some(path) = self.facts.paths.get(&name) {
            return Some(Shape::Path(path.clone()));
        }
        self.facts.used.insert(name.clone());
        Some(Shape::Name(name))
    }

    // ---------- tokens ----------------------------------------------------------------------------------------------

    fn next(&mut self) {
        self.at += 1;
    }

    fn end(&self) -> Option<()> {
        (self.at == self.tokens.len()).then_some(())
    }

    fn is(&self, op: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Op(there)) if *there == op)
    }

    fn take(&mut self, op: &str) -> bool {
        let there = self.is(op);
        self.at += usize::from(there);
        there
    }

    fn op(&mut self, op: &str) -> Option<()> {
        self.take(op).then_some(())
    }

    fn peek_name(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is_name(&self, name: &str) -> bool {
        self.peek_name() == Some(name)
    }

    fn take_name(&mut self, name: &str) -> bool {
        let there = self.is_name(name);
        self.at += usize::from(there);
        there
    }

    fn name(&mut self, name: &str) -> Option<()> {
        self.take_name(name).then_some(())
    }

    fn identifier(&mut self) -> Option<String> {
        let name = self.peek_name().filter(|name| !KEYWORDS.contains(name))?.to_owned();
        self.at += 1;
        Some(name)
    }
}

fn file_function(name: &str) -> bool {
    name == "open" || FILE_FUNCTIONS.contains(&name)
}

#[cfg(test)]
mod tests;
