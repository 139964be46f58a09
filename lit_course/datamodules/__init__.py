"""Data modules: files and arrays in, batches out."""

from lit_course.datamodules.arrays import ArrayDataModule
from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.batches import Batches
from lit_course.datamodules.csv_table import CSVDataModule
from lit_course.datamodules.data_frame import DataFrameDataModule
from lit_course.datamodules.fashion_mnist import FashionMNISTDataModule
from lit_course.datamodules.image_folder import ImageFolderDataModule
from lit_course.datamodules.query_batches import QueryBatches
from lit_course.datamodules.roller_coaster import RollerCoasterDataModule
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.sklearn_tables import DiabetesDataModule, DigitsDataModule
from lit_course.datamodules.svmlight import SVMLightDataModule
from lit_course.datamodules.synthetic_queries import SyntheticQueriesDataModule
from lit_course.datamodules.table import TableDataModule

__all__ = [
    "ArrayDataModule",
    "Batches",
    "CSVDataModule",
    "DataFrameDataModule",
    "DiabetesDataModule",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "ImageFolderDataModule",
    "QueryBatches",
    "RollerCoasterDataModule",
    "SVMLightDataModule",
    "Samples",
    "Split",
    "SupervisedDataModule",
    "SyntheticQueriesDataModule",
    "TableDataModule",
]
