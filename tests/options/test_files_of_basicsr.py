"""Option files such as those that BasicSR comes with are accepted."""

import pytest
import yaml

from tests.conftest import SMALL
from tests.options.wrong import understood

COMMON = """
name: a_run
num_gpu: auto
manual_seed: 0
scale: 4
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [50000, 100000], gamma: 0.5}
  total_iter: 400000
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr: {type: calculate_psnr, crop_border: 4, test_y_channel: false}
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb: {project: ~, resume_id: ~}
dist_params: {backend: nccl, port: 29500}
"""
PAIRED = """
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: datasets/DIV2K/HR_sub
    dataroot_lq: datasets/DIV2K/LR_sub
    meta_info_file: meta.txt
    filename_tmpl: '{}'
    io_backend: {type: disk}
    gt_size: 128
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
  val:
    name: Set14
    type: PairedImageDataset
    dataroot_gt: datasets/Set14/GTmod12
    dataroot_lq: datasets/Set14/LRbicx4
    io_backend: {type: disk}
"""
GAN_TRAINING = """
optim_d: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
perceptual_opt:
  type: PerceptualLoss
  layer_weights: {conv5_4: 1}
  vgg_type: vgg19
  use_input_norm: true
  range_norm: false
  perceptual_weight: 1.0
  style_weight: 0
  criterion: l1
gan_opt: {type: GANLoss, gan_type: vanilla, real_label_val: 1.0, fake_label_val: 0.0, loss_weight: !!float 5e-3}
net_d_iters: 1
net_d_init_iters: 0
"""
REAL = """
l1_gt_usm: true
percep_gt_usm: true
gan_gt_usm: false
resize_prob: [0.2, 0.7, 0.1]
resize_range: [0.15, 1.5]
gaussian_noise_prob: 0.5
noise_range: [1, 30]
poisson_scale_range: [0.05, 3]
gray_noise_prob: 0.4
jpeg_range: [30, 95]
second_blur_prob: 0.8
resize_prob2: [0.3, 0.4, 0.3]
resize_range2: [0.3, 1.2]
gaussian_noise_prob2: 0.5
noise_range2: [1, 25]
poisson_scale_range2: [0.05, 2.5]
gray_noise_prob2: 0.4
jpeg_range2: [30, 95]
gt_size: 256
queue_size: 180
datasets:
  train:
    name: DF2K+OST
    type: RealESRGANDataset
    dataroot_gt: datasets/DF2K
    meta_info: meta.txt
    io_backend: {type: disk}
    blur_kernel_size: 21
    kernel_list: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
    kernel_prob: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    sinc_prob: 0.1
    blur_sigma: [0.2, 3]
    betag_range: [0.5, 4]
    betap_range: [1, 2]
    blur_kernel_size2: 21
    kernel_list2: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
    kernel_prob2: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    sinc_prob2: 0.1
    blur_sigma2: [0.2, 1.5]
    betag_range2: [0.5, 4]
    betap_range2: [1, 2]
    final_sinc_prob: 0.8
    gt_size: 256
    use_hflip: true
    use_rot: false
    num_worker_per_gpu: 5
    batch_size_per_gpu: 12
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
"""
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4}
SWIN = {
    "type": "SwinIR", "upscale": 4, "in_chans": 3, "img_size": 32, "window_size": 8, "img_range": 1.0, "depths": [1],
    "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle", "resi_connection": "1conv",
}  # fmt: skip


def file_of(name: str) -> dict:
    options = yaml.safe_load(COMMON)
    if name == "RealESRGAN":
        unet = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4, "skip_connection": True}
        options |= {**yaml.safe_load(REAL), "model_type": "RealESRGANModel", "network_g": RRDB, "network_d": unet}
        options["train"] |= {**yaml.safe_load(GAN_TRAINING), "scheduler": {
            "type": "MultiStepLR", "milestones": [400000], "gamma": 0.5,
        }}  # fmt: skip
        del options["val"]
        return options
    options["datasets"] = yaml.safe_load(f"datasets:{PAIRED}")["datasets"]
    if name == "ESRGAN":
        vgg = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4}
        options |= {"model_type": "ESRGANModel", "network_g": RRDB, "network_d": vgg}
        options["train"] |= yaml.safe_load(GAN_TRAINING)
    elif name == "SwinIR":
        options |= {"model_type": "SwinIRModel", "network_g": SWIN}
    else:
        edsr = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "upscale": 4, "res_scale": 1, "img_range": 255.0}
        options |= {
            "model_type": "SRModel",
            "network_g": {**edsr, "rgb_mean": [0.4488, 0.4371, 0.4040], **SMALL["EDSR"]},
        }
    return options


@pytest.mark.parametrize("name", ["EDSR", "ESRGAN", "RealESRGAN", "SwinIR"])
def test_files_as_basicsrs_own_are(name, tmp_path):
    read = understood(tmp_path / "o.yml", file_of(name)).options
    assert read["network_g"] == file_of(name)["network_g"]
