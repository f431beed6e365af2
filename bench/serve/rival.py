"""The same objects in FastAPI and SQLAlchemy, as one writes such a server in Python: rival.py DIRECTORY PORT

Files are streamed to the disk, rows are in SQLite in WAL mode, answers have models that FastAPI validates. Uploads are not checked:
that is left to be pixtune's alone.
"""

import pathlib
import shutil
import sys
import time
import uuid

import fastapi
import pydantic
import uvicorn
from sqlalchemy import String, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
engine = create_engine(f"sqlite:///{directory}/rows.db", connect_args={"check_same_thread": False})
sessions = sessionmaker(engine)
app = fastapi.FastAPI()


@event.listens_for(engine, "connect")
def pragmas(connection, _):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


class Base(DeclarativeBase):
    pass


class FileRow(Base):
    __tablename__ = "files"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    created_at: Mapped[int] = mapped_column(index=True)


class JobRow(Base):
    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    model: Mapped[str]
    training_file: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[int]


class File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(from_attributes=True)
    id: str
    object: str = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str = "processed"


class Files(pydantic.BaseModel):
    object: str = "list"
    data: list[File]
    has_more: bool = False


class NewJob(pydantic.BaseModel):
    model: str
    training_file: str


class Job(NewJob):
    model_config = pydantic.ConfigDict(from_attributes=True)
    id: str
    object: str = "fine_tuning.job"
    status: str
    created_at: int


Base.metadata.create_all(engine)


def session():
    with sessions() as opened:
        yield opened


@app.get("/healthz")
def health():
    return {"status": "ok"}


@app.post("/v1/files")
def upload(file: fastapi.UploadFile, purpose: str = fastapi.Form("fine-tune"), rows: Session = fastapi.Depends(session)) -> File:
    row = FileRow(id=f"file-{uuid.uuid4().hex}", filename=file.filename or "", purpose=purpose, bytes=0, created_at=int(time.time()))
    with (directory / row.id).open("wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
        row.bytes = out.tell()
    rows.add(row)
    rows.commit()
    return File.model_validate(row)


@app.get("/v1/files")
def files(limit: int = 20, rows: Session = fastapi.Depends(session)) -> Files:
    found = rows.scalars(select(FileRow).order_by(FileRow.created_at.desc()).limit(limit)).all()
    return Files(data=[File.model_validate(row) for row in found])


@app.get("/v1/files/{file_id}")
def file(file_id: str, rows: Session = fastapi.Depends(session)) -> File:
    row = rows.get(FileRow, file_id)
    if row is None:
        raise fastapi.HTTPException(404, f"there is no file `{file_id}`")
    return File.model_validate(row)


@app.post("/v1/fine_tuning/jobs")
def create(job: NewJob, rows: Session = fastapi.Depends(session)) -> Job:
    row = JobRow(id=f"ftjob-{uuid.uuid4().hex}", status="queued", created_at=int(time.time()), **job.model_dump())
    rows.add(row)
    rows.commit()
    return Job.model_validate(row)


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
