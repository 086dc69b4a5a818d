//! Takes in the page's files, as they lie in `dashboards/web/dist`, where they were built. Without them the program is built all the same,
//! and says what to do in their place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fmt::Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let dist = manifest.join("../../dashboards/web/dist");
    // Cargo would run this again and again for a folder that is not there. A tree that cannot be written to is no fault.
    let _ = fs::create_dir_all(&dist);
    let dist = dist.canonicalize().unwrap_or(dist);
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if dist.join("index.html").exists() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let packed = out.join(format!("{number}.gz"));
        let mut gzip = GzEncoder::new(File::create(&packed)?, Compression::best());
        gzip.write_all(&fs::read(file)?)?;
        gzip.finish()?;
        let path = file
            .strip_prefix(&dist)
            .unwrap_or(file)
            .to_string_lossy()
            .replace('\\', "/");
        writeln!(
            code,
            "Asset {{ path: {path:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({packed:?}) }},"
        )
        .map_err(io::Error::other)?;
    }
    code.push(']');
    fs::write(out.join("assets.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
